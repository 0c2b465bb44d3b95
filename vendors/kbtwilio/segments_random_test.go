package kbtwilio

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	calculatorPackage = "sms-segments-calculator"
	calculatorVersion = "1.3.0"
	recorded          = "testdata/segments-random.counts"
)

// alphabets are what the random texts are made of: each text takes from one to three of them, in runs.
var alphabets = []string{
	"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
	"@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà",
	"\f^{}\\[~]|€", "ç`\táíóúâêîôûãõ’“”…–—", "абвгдежзийклмнопрстуфхцчшщъыьэюя", "日本語中文字漢字", "العربية",
	"한국어글자", "😀😁🎉🚀❤☺✅🏠", "हिन्दीकीखगु", "ไทยกี่ที่น้ำ", "שלוםעולם", "e\u0301o\u0308a\u0323\u0301",
}

// joined are what a reader sees as one character and a computer as several.
var joined = []string{"👨\u200d👩\u200d👧\u200d👦", "👍🏽", "🇩🇪", "🇺🇸", "❤\ufe0f", "1\ufe0f\u20e3", "👩🏻\u200d🚀", "\r\n", "🏳\ufe0f\u200d🌈"}

// randomTexts are always the same.
func randomTexts() []string {
	r := rand.New(rand.NewPCG(2026, 11))
	texts := make([]string, 10_000)
	for i := range texts {
		var b strings.Builder
		sets := make([][]rune, 1+r.IntN(3))
		for j := range sets {
			sets[j] = []rune(alphabets[r.IntN(len(alphabets))])
		}
		if r.IntN(3) == 0 { // most of what people send is plain
			sets = [][]rune{[]rune(alphabets[0]), []rune(alphabets[1]), []rune(alphabets[2])}
		}
		family := r.IntN(6) == 0
		for left := r.IntN(400); left > 0; left-- {
			if family && r.IntN(8) == 0 {
				b.WriteString(joined[r.IntN(len(joined))])
				continue
			}
			set := sets[r.IntN(len(sets))]
			b.WriteRune(set[r.IntN(len(set))])
		}
		texts[i] = b.String()
	}
	return texts
}

func digestOf(texts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// TestRandomSegmentsAreTheCalculators compares 10,000 texts with what Twilio's own calculator said of them.
func TestRandomSegmentsAreTheCalculators(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(file))
	texts := randomTexts()
	if fields[0] != digestOf(texts) || len(fields) != 1+len(texts) {
		t.Fatalf("%s is of other texts; run KEYBRAKE_LONG=1 UPDATE_SEGMENTS=1 go test -run Calculator", recorded)
	}
	for i, text := range texts {
		said, err := strconv.Atoi(fields[i+1])
		if err != nil {
			t.Fatal(err)
		}
		compareSegments(t, text, said)
	}
}

// compareSegments wants the same number, and a bound that is not below it.
func compareSegments(t *testing.T, text string, said int) {
	t.Helper()
	if got := Segments(text); got != said {
		t.Errorf("%.60q…: %d segments, the calculator counts %d", text, got, said)
	}
	if got := mostSegments(text, "US"); got < said {
		t.Errorf("%.60q…: bound of %d is below the calculator's %d", text, got, said)
	}
}

// TestCalculatorAgreesNow asks Twilio's calculator itself, which it installs from the npm registry. With
// UPDATE_SEGMENTS set, what it says is kept.
func TestCalculatorAgreesNow(t *testing.T) {
	if os.Getenv("KEYBRAKE_LONG") == "" {
		t.Skip("it installs " + calculatorPackage + " from the npm registry; set KEYBRAKE_LONG=1 (what it said is checked in any case)")
	}
	texts := randomTexts()
	counts := askCalculator(t, texts)
	if os.Getenv("UPDATE_SEGMENTS") != "" {
		var b strings.Builder
		b.WriteString(digestOf(texts))
		for i, n := range counts {
			if i%50 == 0 {
				b.WriteString("\n")
			} else {
				b.WriteString(" ")
			}
			b.WriteString(strconv.Itoa(n))
		}
		if err := os.WriteFile(recorded, []byte(b.String()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, text := range texts {
		compareSegments(t, text, counts[i])
	}
}

const askScript = `
const { SegmentedMessage } = require(%q);
const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(texts.map(t => new SegmentedMessage(t).segmentsCount)));
`

func askCalculator(t *testing.T, texts []string) (counts []int) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	dir := t.TempDir()
	install := exec.CommandContext(t.Context(), "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, calculatorPackage+"@"+calculatorVersion)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the npm registry cannot be reached: %v %s", err, out)
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "-e", fmt.Sprintf(askScript, filepath.Join(dir, "node_modules", calculatorPackage)))
	node.Stdin = bytes.NewReader(in)
	out, err := node.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &counts); err != nil || len(counts) != len(texts) {
		t.Fatalf("the calculator counted %d of %d texts: %v", len(counts), len(texts), err)
	}
	return counts
}
