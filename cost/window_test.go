package cost_test

import (
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := cost.Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestWindowHoldsNow(t *testing.T) {
	for name, tt := range map[string]struct {
		window          cost.Window
		zone            string
		now, start, end string // end empty: none
		length          time.Duration
	}{
		"lifetime starts at the epoch and has no end": {cost.Lifetime, "Europe/Berlin", "2026-11-23T12:34:56Z", "1970-01-01T00:00:00Z", "", 0},

		"an hour":                                {cost.Hour, "", "2026-11-23T12:34:56.789Z", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z", time.Hour},
		"an hour starts with its first moment":   {cost.Hour, "", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z", time.Hour},
		"an hour ends before the next":           {cost.Hour, "", "2026-11-23T11:59:59.999999999Z", "2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z", time.Hour},
		"an hour of a zone with half an hour":    {cost.Hour, "Asia/Kolkata", "2026-11-23T12:34:56Z", "2026-11-23T12:30:00Z", "2026-11-23T13:30:00Z", time.Hour},
		"an hour of a zone with three quarters":  {cost.Hour, "Asia/Kathmandu", "2026-11-23T12:34:56Z", "2026-11-23T12:15:00Z", "2026-11-23T13:15:00Z", time.Hour},
		"two o'clock in autumn, the first time":  {cost.Hour, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", time.Hour},
		"two o'clock in autumn, the second time": {cost.Hour, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", time.Hour},
		"the hour after the one that is skipped": {cost.Hour, "Europe/Berlin", "2026-03-29T01:15:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", time.Hour},

		"a day":                        {cost.Day, "", "2026-11-23T23:59:59.999999999Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z", 24 * time.Hour},
		"a day of a zone east":         {cost.Day, "Asia/Tokyo", "2026-11-23T15:00:00Z", "2026-11-23T15:00:00Z", "2026-11-24T15:00:00Z", 24 * time.Hour},
		"a day of a zone west":         {cost.Day, "America/New_York", "2026-11-23T04:59:59Z", "2026-11-22T05:00:00Z", "2026-11-23T05:00:00Z", 24 * time.Hour},
		"a day in spring":              {cost.Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23 * time.Hour},
		"a day in autumn":              {cost.Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25 * time.Hour},
		"a day at the end of the year": {cost.Day, "", "2026-12-31T12:00:00Z", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z", 24 * time.Hour},
		"a leap day":                   {cost.Day, "", "2028-02-29T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z", 24 * time.Hour},
		"the last hour before a midnight that is skipped": {cost.Day, "America/Santiago", "2024-09-08T03:30:00Z", "2024-09-07T04:00:00Z", "2024-09-08T04:00:00Z", 24 * time.Hour},
		"a day without a midnight":                        {cost.Day, "America/Santiago", "2024-09-08T04:00:00Z", "2024-09-08T04:00:00Z", "2024-09-09T03:00:00Z", 23 * time.Hour},
		"the first hour of a day with two midnights":      {cost.Day, "America/Havana", "2024-11-03T04:30:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z", 25 * time.Hour},
		"the second hour of a day with two midnights":     {cost.Day, "America/Havana", "2024-11-03T05:30:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z", 25 * time.Hour},
		"the day before one that a country skipped":       {cost.Day, "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", 24 * time.Hour},
		"the day after one that a country skipped":        {cost.Day, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z", 24 * time.Hour},

		"a month":                        {cost.Month, "", "2026-11-23T12:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 30 * 24 * time.Hour},
		"a month in which clocks change": {cost.Month, "Europe/Berlin", "2026-10-31T22:59:59Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", 31*24*time.Hour + time.Hour},
		"December":                       {cost.Month, "", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", 31 * 24 * time.Hour},
		"February of a leap year":        {cost.Month, "", "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", 29 * 24 * time.Hour},
		"the 31st, before a short month": {cost.Month, "", "2026-01-31T00:00:00Z", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", 31 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			start, end := tt.window.Bounds(at(t, tt.now), zone(t, tt.zone))
			if !start.Equal(at(t, tt.start)) {
				t.Errorf("starts %s, want %s", start.UTC(), tt.start)
			}
			if tt.end == "" {
				if !end.IsZero() {
					t.Errorf("ends %s, want never", end.UTC())
				}
				return
			}
			if !end.Equal(at(t, tt.end)) || end.Sub(start) != tt.length {
				t.Errorf("ends %s after %s, want %s after %s", end.UTC(), end.Sub(start), tt.end, tt.length)
			}
		})
	}
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// oddZones change their clocks at or around midnight, by other steps than an hour, or over the date line.
var oddZones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "America/Havana", "America/Asuncion", "America/Sao_Paulo",
	"America/Goose_Bay", "America/St_Johns", "America/Scoresbysund", "America/Caracas", "Africa/Cairo", "Africa/Casablanca",
	"Asia/Beirut", "Asia/Gaza", "Asia/Amman", "Asia/Tehran", "Asia/Kathmandu", "Asia/Pyongyang", "Atlantic/Azores",
	"Antarctica/Casey", "Antarctica/Troll", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Guam",
}

// Around every change of the clocks: now lies in its window, the start does not go back, and the window of a day or
// month starts where the last has ended, with the first moment of a date.
func TestWindowsFollowOneAnother(t *testing.T) {
	steps := []time.Duration{-26 * time.Hour, -25 * time.Hour, -2 * time.Hour, -time.Hour, -30 * time.Minute, -time.Minute, -1, 0,
		time.Minute, 30*time.Minute - 1, 30 * time.Minute, time.Hour - 1, time.Hour, 2 * time.Hour, 3 * time.Hour, 25 * time.Hour}
	for _, name := range oddZones {
		z := zone(t, name)
		for _, w := range []cost.Window{cost.Hour, cost.Day, cost.Month} {
			now := time.Date(1970, 1, 1, 12, 0, 0, 0, z)
			for {
				_, change := now.ZoneBounds()
				if change.IsZero() || change.Year() > 2037 {
					break
				}
				follow(t, w, z, change, steps)
				now = change
			}
		}
	}
}

func follow(t *testing.T, w cost.Window, z *time.Location, change time.Time, steps []time.Duration) {
	t.Helper()
	var last, lastEnd time.Time
	for _, step := range steps {
		now := change.Add(step)
		start, end := w.Bounds(now, z)
		if start.After(now) || !end.After(now) {
			t.Fatalf("%s in %s: %s is not in %s – %s", w, z, now, start, end)
		}
		if start.Before(last) {
			t.Fatalf("%s in %s: at %s the start goes back from %s to %s", w, z, now, last, start)
		}
		if w == cost.Hour {
			last = start
			continue
		}
		next, _ := w.Bounds(end, z)
		if !next.Equal(end) || !last.IsZero() && start.After(last) && start.Before(lastEnd) {
			t.Fatalf("%s in %s: at %s the window ends %s and the next starts %s", w, z, now, end, next)
		}
		if a, b := start.In(z).Day(), start.Add(-1).In(z).Day(); a == b {
			t.Fatalf("%s in %s: at %s the window starts in the middle of a day, %s", w, z, now, start)
		}
		last, lastEnd = start, end
	}
}

func TestARollingWindowIsTheSpanThatEndsNow(t *testing.T) {
	now := time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC)
	start, end := cost.Rolling(24*time.Hour).Bounds(now, time.UTC)
	if !start.Equal(now.Add(1-24*time.Hour)) || !end.Equal(now.Add(1)) {
		t.Errorf("the last 24 hours at %s are %s to %s", now, start, end)
	}
}

func TestWindowOfValidForm(t *testing.T) {
	for _, w := range []cost.Window{cost.Lifetime, cost.Hour, cost.Day, cost.Month} {
		if !w.Valid() {
			t.Errorf("%s is not valid", w)
		}
	}
	for _, d := range []time.Duration{time.Second, 90 * time.Second, 90 * time.Minute, 24 * time.Hour, 400 * 24 * time.Hour} {
		if w := cost.Rolling(d); !w.Valid() || w.Rolls() != d {
			t.Errorf("%s of %s is not valid, or rolls %s", w, d, w.Rolls())
		}
	}
	for _, w := range []cost.Window{cost.Rolling(0), cost.Rolling(-time.Hour), cost.Rolling(time.Millisecond), cost.Rolling(401 * 24 * time.Hour), cost.Rolling(1500*time.Millisecond) + "x"} {
		if w.Valid() || w.Rolls() != 0 {
			t.Errorf("%q is valid", w)
		}
	}
	for _, w := range []cost.Window{"", "Day", "daily", "week", "day ", "rolling", "rolling ", "rolling 1440m", "rolling 1h0m", "rolling 24H", "rolling  24h", "rolling +24h", "rolling 1.5h"} {
		if w.Valid() {
			t.Errorf("%q is valid", w)
		}
	}
}

func TestZone(t *testing.T) {
	for name, want := range map[string]string{"": "UTC", "UTC": "UTC", "Europe/Berlin": "Europe/Berlin"} {
		if z, err := cost.Zone(name); err != nil || z.String() != want {
			t.Errorf("%q is %v, %v", name, z, err)
		}
	}
	// "Local" would reset one budget at two times on two machines; the rest would read other files than time zones.
	for _, name := range []string{"Local", "Europe/Atlantis", "../../etc/passwd", "/etc/passwd", "a/../../b", `Europe\Berlin`} {
		if z, err := cost.Zone(name); err == nil {
			t.Errorf("%q is %v", name, z)
		}
	}
}
