package cost

import (
	"fmt"
	"time"
)

// A Window is the span of time over which a budget adds up.
type Window string

// The windows. Lifetime never resets; the others are calendar spans in the budget's time zone.
const (
	Lifetime Window = "lifetime"
	Hour     Window = "hour"
	Day      Window = "day"
	Month    Window = "month"
)

// Valid reports whether w is one of the windows above.
func (w Window) Valid() bool { return w == Lifetime || w == Hour || w == Day || w == Month }

// Bounds returns the window that holds now: start included, end excluded. A lifetime window starts at the Unix
// epoch and its end is the zero Time. Days and months follow the calendar of zone, so a day may have 23 or
// 25 hours where the clocks change; an hour is an hour of elapsed time since its zone's full hour.
func (w Window) Bounds(now time.Time, zone *time.Location) (start, end time.Time) {
	local := now.In(zone)
	y, m, d := local.Date()
	switch w {
	case Hour:
		// Subtracting elapsed minutes rather than rebuilding the date keeps the two equal wall-clock hours of an
		// autumn night apart: rebuilt, both would start at the first, and the second would never reset.
		past := time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
		start = local.Add(-past)
		return start, start.Add(time.Hour)
	case Day:
		return time.Date(y, m, d, 0, 0, 0, 0, zone), time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	case Month:
		return time.Date(y, m, 1, 0, 0, 0, 0, zone), time.Date(y, m+1, 1, 0, 0, 0, 0, zone)
	}
	return time.Unix(0, 0), time.Time{}
}

// Zone loads a time zone by its IANA name. The empty name is UTC; "Local" is refused, because it means
// something else on each machine that shares a budget.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("zone %q differs from machine to machine; name it, such as Europe/Berlin", name)
	}
	return time.LoadLocation(name)
}
