package redisledger

import (
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var files embed.FS

// The scripts, one a verb. Each file's head is its contract.
var (
	reserveScript     = script("reserve", "books", "rolling", "cells", "record", "alert", "admit", "claim", "repeat", "charge", "put")
	raiseScript       = script("raise", "books", "rolling", "cells", "record", "alert", "admit", "charge", "put")
	settleScript      = script("settle", "books", "rolling", "cells", "record", "alert", "close")
	releaseScript     = script("release", "books", "rolling", "cells", "record", "close")
	adjustScript      = script("adjust", "books", "rolling", "cells", "record", "alert", "close")
	openScript        = script("open", "books")
	setBudgetScript   = script("setbudget", "books")
	balanceScript     = script("balance", "books", "rolling", "cells", "record")
	statesScript      = script("states", "books", "rolling", "cells", "record")
	overdueScript     = script("overdue", "books")
	controlScript     = script("control", "books")
	registerScript    = script("register", "books", "record")
	alertsScript      = script("alerts", "books")
	acknowledgeScript = script("acknowledge", "books")
	permitScript      = script("permit", "books")
	checkScript       = script("check", "books")
)

// script joins a verb with what it shares with others. The first line, which tells Redis the script's flags,
// stays first: without it settle would be refused when Redis is out of memory.
func script(verb string, shared ...string) *redis.Script {
	flags, body, _ := strings.Cut(source(verb), "\n")
	var b strings.Builder
	b.WriteString(flags + "\n")
	for _, name := range shared {
		b.WriteString(source(name))
	}
	b.WriteString(body)
	return redis.NewScript(b.String())
}

// source reads an embedded file. The names are constants of this file, so an error is a build that cannot work
// and shows in every test.
func source(name string) string {
	text, err := files.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err)
	}
	return string(text)
}
