package twiliocatalogue

import (
	_ "embed"
	"os"
	"os/exec"
	"strings"
	"testing"
)

//go:embed review.txt
var review string

// catalogue is the table that vendors/kbtwilio embeds.
const catalogue = "../../vendors/kbtwilio/catalogue.tsv"

const head = `# The operations of twilio-go v1.31.0 with what a person decided about them. Made by internal/twiliocatalogue; do not edit.
# Columns: class, name, method, host, path, body, parameters of paid calls (! redirects), of others the lists ([*]), why it is never allowed.
`

func sdkDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "github.com/twilio/twilio-go").Output()
	dir, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || dir == "" {
		t.Fatalf("twilio-go is not in the module cache: %v", err)
	}
	if !strings.Contains(head, " "+version+" ") {
		t.Errorf("twilio-go is %s now; look what changed, and say so in the head of the catalogue", version)
	}
	return dir
}

func rows(t *testing.T) []Row {
	t.Helper()
	calls, err := Surface(sdkDir(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ReadReview(review)
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.Rows(calls)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCatalogueIsTheSDKs names what twilio-go has and the catalogue does not, and the other way round. With
// UPDATE_CATALOGUE set, the catalogue is written.
func TestCatalogueIsTheSDKs(t *testing.T) {
	var want strings.Builder
	want.WriteString(head)
	for _, r := range rows(t) {
		want.WriteString(r.String() + "\n")
	}
	if os.Getenv("UPDATE_CATALOGUE") != "" {
		if err := os.WriteFile(catalogue, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(catalogue)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range missing(want.String(), string(got)) {
		t.Errorf("new in twilio-go or in review.txt: %s", line)
	}
	for _, line := range missing(string(got), want.String()) {
		t.Errorf("gone from twilio-go or from review.txt: %s", line)
	}
}

// missing are the lines of one that the other does not have.
func missing(one, other string) (lines []string) {
	have := map[string]bool{}
	for l := range strings.SplitSeq(other, "\n") {
		have[l] = true
	}
	for l := range strings.SplitSeq(one, "\n") {
		if !have[l] {
			lines = append(lines, l)
		}
	}
	return lines
}
