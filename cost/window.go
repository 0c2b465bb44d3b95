package cost

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A Window is the span of time over which a budget adds up.
type Window string

// The windows. Lifetime never resets; the others are calendar spans in the budget's time zone. Those of [Rolling]
// are spans that end now.
const (
	Lifetime Window = "lifetime"
	Hour     Window = "hour"
	Day      Window = "day"
	Month    Window = "month"
)

// rolling is how the windows of Rolling begin.
const rolling = "rolling "

// Rolling is the window of the last d, whenever that is: "rolling 24h". What falls out of it comes back bit by
// bit rather than at a reset. d is a whole number of seconds from one second to 400 days; a shorter or longer
// one gives a window that is not Valid, and fractions of a second are dropped.
func Rolling(d time.Duration) Window {
	for _, unit := range []struct {
		name string
		span time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}} {
		if d > 0 && d%unit.span == 0 {
			return Window(rolling + strconv.FormatInt(int64(d/unit.span), 10) + unit.name)
		}
	}
	return Window(rolling + strconv.FormatInt(int64(d/time.Second), 10) + "s")
}

// Rolls returns the length of a rolling window, and zero for any other. The text of a length is not free: 24h is
// not written 1440m, so that two windows are the same where their texts are.
func (w Window) Rolls() time.Duration {
	text, ok := strings.CutPrefix(string(w), rolling)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > 400*24*time.Hour || Rolling(d) != w {
		return 0
	}
	return d
}

// Valid reports whether w is one of the windows above.
func (w Window) Valid() bool {
	return w == Lifetime || w == Hour || w == Day || w == Month || w.Rolls() > 0
}

// Bounds returns the window that holds now: start included, end excluded. A lifetime window starts at the Unix
// epoch and its end is the zero Time. A rolling one ends with now, which it includes. Days and months follow the calendar of zone, so a day may have 23 or
// 25 hours where the clocks change; an hour is an hour of elapsed time since its zone's full hour.
//
// In no zone of the tz database, from 1970 on, does the start go back as now goes on; and where a day or month
// ends, the next one starts.
func (w Window) Bounds(now time.Time, zone *time.Location) (start, end time.Time) {
	if d := w.Rolls(); d > 0 {
		return now.Add(1 - d), now.Add(1)
	}
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
		return between(now, func(n int) time.Time { return midnight(y, m, d+n, zone) })
	case Month:
		return between(now, func(n int) time.Time { return midnight(y, m+time.Month(n), 1, zone) })
	}
	return time.Unix(0, 0), time.Time{}
}

// between returns the two borders that now lies between. They are 0 and 1, nearly always: a clock that goes back
// over midnight shows one day's date in the middle of the other.
func between(now time.Time, border func(n int) time.Time) (start, end time.Time) {
	start, end = border(0), border(1)
	for n := -1; now.Before(start); n-- {
		start, end = border(n), start
	}
	for n := 2; !now.Before(end); n++ {
		start, end = end, border(n)
	}
	return start, end
}

// midnight is the moment at which a calendar day begins. Where the clocks change around midnight, there may be
// none or two, and [time.Date] then names a moment of the day before, or the second: the day would have begun
// before its start, or not ended at its end.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	before := func(t time.Time) bool { // the day has not begun
		ty, tm, td := t.Date()
		return time.Date(ty, tm, td, 0, 0, 0, 0, time.UTC).Before(time.Date(y, m, d, 0, 0, 0, 0, time.UTC))
	}
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if !before(t) && before(t.Add(-1)) {
		return t
	}
	from := t.Add(-25 * time.Hour)
	n := sort.Search(50*60*60, func(n int) bool { return !before(from.Add(time.Duration(n) * time.Second)) })
	return from.Add(time.Duration(n) * time.Second)
}

// Zone loads a time zone by its IANA name. The empty name is UTC; "Local" is refused, because it means
// something else on each machine that shares a budget.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("zone %q differs from machine to machine; name it, such as Europe/Berlin", name)
	}
	return time.LoadLocation(name)
}
