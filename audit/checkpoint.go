package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Checkpoint says where the chains of some writers ended at a time. Signed, it may be kept anywhere: with the one of last
// week, a verification sees whether anything that was there then was cut off or made anew since. See [Verified.Checkpoint].
type Checkpoint struct {
	Time  time.Time       `json:"time"`
	Heads map[string]Head `json:"heads"` // by writer; for [VerifyOptions].Until
}

// signedCheckpoint is the form in which a checkpoint is kept: one line of JSON.
type signedCheckpoint struct {
	Version int `json:"v"` // 1
	Checkpoint
	Sign string `json:"sign,omitempty"` // Ed25519 over a label and the line without it, in base64
}

// message is what the signature covers. The label keeps it from being one of anything else that the key may sign.
func (c signedCheckpoint) message() ([]byte, error) {
	c.Sign = ""
	text, err := json.Marshal(c)
	return append([]byte("keybrake audit checkpoint v1\x00"), text...), err
}

// Checkpoint signs what was found, with the time: one line of JSON, which [ParseCheckpoint] reads. Only what Verify has
// returned without an error is worth one. Whoever can put an older checkpoint in the place of a newer one hides what was cut
// off after it: keep them where records cannot be written, or look at the time.
func (v Verified) Checkpoint(key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("audit: a checkpoint's key has %d bytes, not %d", len(key), ed25519.PrivateKeySize)
	}
	c := signedCheckpoint{Version: 1, Checkpoint: Checkpoint{time.Now().UTC(), v.Heads}}
	message, err := c.message()
	if err != nil {
		return nil, fmt.Errorf("audit: a checkpoint: %w", err)
	}
	c.Sign = base64.StdEncoding.EncodeToString(ed25519.Sign(key, message))
	text, err := json.Marshal(c)
	return append(text, '\n'), err
}

// ParseCheckpoint reads a checkpoint that one of keys has signed. One that was changed, or that none of them has signed, is
// an error, and so is anything else.
func ParseCheckpoint(text []byte, keys ...ed25519.PublicKey) (Checkpoint, error) {
	var c signedCheckpoint
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // no signature covers them
	if err := d.Decode(&c); err != nil {
		return Checkpoint{}, fmt.Errorf("audit: it is no checkpoint: %w", err)
	}
	if rest := bytes.TrimSpace(text[d.InputOffset():]); c.Version != 1 || len(rest) > 0 {
		return Checkpoint{}, errors.New("audit: it is no checkpoint of version 1")
	}
	message, err := c.message()
	if err != nil {
		return Checkpoint{}, fmt.Errorf("audit: it is no checkpoint: %w", err)
	}
	if !signedBy(keys, message, c.Sign) {
		return Checkpoint{}, errors.New("audit: the checkpoint was changed, or none of the keys has signed it")
	}
	return c.Checkpoint, nil
}

// signedBy says whether one of keys has made the signature, which is in base64, of message.
func signedBy(keys []ed25519.PublicKey, message []byte, sign string) bool {
	sig, err := base64.StdEncoding.Strict().DecodeString(sign)
	if err != nil {
		return false
	}
	for _, key := range keys {
		if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, sig) {
			return true
		}
	}
	return false
}
