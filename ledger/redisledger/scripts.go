package redisledger

import (
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var files embed.FS

// The scripts, one a verb. Each file's head is its contract. In a tenant whose store has lost writes the gated ones
// are refused; the others go on, because they book what is spent already or stop somebody. With lasting go the keys of
// rows that are never gone by right: the script looks whether one that was there is missing, and those that make such
// rows remember it.
var (
	reserveScript     = replicated(gated("reserve", lasting("3"), "books", "rolling", "cells", "record", "tell", "alert", "admit", "claim", "repeat", "charge", "put"))
	raiseScript       = replicated(gated("raise", lasting("3"), "books", "rolling", "cells", "record", "tell", "alert", "admit", "charge", "put"))
	settleScript      = watched("settle", nothing, "books", "rolling", "cells", "record", "tell", "alert", "close", "memo")
	releaseScript     = watched("release", nothing, "books", "rolling", "cells", "record", "close")
	adjustScript      = watched("adjust", nothing, "books", "rolling", "cells", "record", "tell", "alert", "close")
	openScript        = gated("open", makes("2"), "books")
	setBudgetScript   = gated("setbudget", makes("1"), "books")
	balanceScript     = plain("balance", "books", "rolling", "cells", "record")
	statesScript      = plain("states", "books", "rolling", "cells", "record")
	controlScript     = replicated(watched("control", makes("1, 3"), "books"))
	registerScript    = gated("register", makes("1, 2"), "books", "record")
	alertScript       = plain("alertonce", "books", "tell")
	alertsScript      = plain("alerts", "books")
	acknowledgeScript = watched("acknowledge", nothing, "books")
	leaseScript       = plain("lease", "books")
	keepScript        = plain("keep", "books")
	keptScript        = plain("kept", "books")
	permitScript      = plain("permit", "books")
	checkScript       = plain("check", "books")

	// What a re-arm puts back is put back while the tenant is frozen.
	ensureScript      = watched("ensure", nothing, "books", "rolling", "cells", "record", "put", "older")
	floorScript       = watched("floor", nothing, "books", "rolling", "cells", "record", "put")
	openAgainScript   = watched("open", makes("2"), "books")
	budgetAgainScript = watched("setbudget", makes("1"), "books")
	registerAgain     = watched("register", makes("1, 2"), "books", "record")
	rearmScript       = plain("rearm", "books")
)

// A script is a verb's text with all that it needs.
type script struct {
	*redis.Script
	watched bool // it also takes and gives what watch.lua says
	waits   bool // what it wrote must be on Options.Replicas replicas
}

// replicated marks a script that waits.
func replicated(s script) script {
	s.waits = true
	return s
}

func plain(verb string, shared ...string) script {
	flags, body := text(verb)
	return script{redis.NewScript(flags + sources(shared) + body), false, false}
}

// A guard is arguments of watched in watch.lua: which of KEYS last, and whether the script makes them.
type guard string

const nothing guard = "{}, false"

func lasting(keys string) guard { return guard("{ " + keys + " }, false") }
func makes(keys string) guard   { return guard("{ " + keys + " }, true") }

func watched(verb string, g guard, shared ...string) script {
	return surrounded(verb, shared, "false", g)
}

func gated(verb string, g guard, shared ...string) script { return surrounded(verb, shared, "true", g) }

func surrounded(verb string, shared []string, gated string, g guard) script {
	flags, body := text(verb)
	return script{redis.NewScript(flags + sources(append(shared, "meta", "watch")) +
		"local function verb()\n" + body + "end\nreturn watched(" + gated + ", verb, " + string(g) + ")\n"), true, false}
}

// text is a verb's file. The first line, which tells Redis the script's flags, stays first: without it settle would
// be refused when Redis is out of memory.
func text(verb string) (flags, body string) {
	flags, body, _ = strings.Cut(source(verb), "\n")
	return flags + "\n", body
}

// sources joins what verbs share.
func sources(names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(source(name))
	}
	return b.String()
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
