package kbtwilio_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

func TestPlace(t *testing.T) {
	place := kbtwilio.New(nil).Place
	key := "SK0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		parts          []string
		user, password string
	}{
		{[]string{me + ":tok1"}, me, "tok1"},
		{[]string{me, "tok1"}, me, "tok1"},
		{[]string{me + ":" + key + ":sec1"}, key, "sec1"},
		{[]string{me, key, "sec1"}, key, "sec1"},
	} {
		p, err := place(c.parts)
		basic := base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password))
		if err != nil || p.Header != "Authorization" || p.Value != "Basic "+basic || p.Account != me || p.Mode != vendors.ModeUnknown {
			t.Errorf("%d parts: %v", len(c.parts), err)
		}
		if !slices.Equal(p.Secrets, []string{c.password, basic}) {
			t.Errorf("%d parts: the secrets are not both forms of the password", len(c.parts))
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	place := kbtwilio.New(nil).Place
	for _, parts := range [][]string{
		nil, {}, {""}, {"secretvalue"}, {me}, {me + ":"}, {me, ""}, {"AC123:secretvalue"}, {me + "0:secretvalue"}, {me[:33] + "g:secretvalue"},
		{me + ":XX0123456789abcdef0123456789abcdef:secretvalue"}, {me, "SK123", "secretvalue"}, {me, "SK0123456789abcdef0123456789abcdef", "secretvalue", "x"},
		{me + ":secretvalue", "x"}, {me + ":secretvalue\r\nX: y"}, {me + ":secretvalue "}, {" " + me + ":secretvalue"}, {"SK0123456789abcdef0123456789abcdef:secretvalue"},
	} {
		p, err := place(parts)
		if err == nil {
			t.Errorf("%q was taken", parts)
			continue
		}
		if p.Value != "" || strings.Contains(err.Error(), "secretvalue") || strings.Contains(err.Error(), me) {
			t.Errorf("%q: the refusal holds a part", parts)
		}
	}
}

func TestPlacementIsNotPrinted(t *testing.T) {
	p, err := kbtwilio.New(nil).Place([]string{me, "secretvalue"})
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(form, p); strings.Contains(s, "secretvalue") || strings.Contains(s, p.Value) {
			t.Errorf("%s prints the credential", form)
		}
	}
}
