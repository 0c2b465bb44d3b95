module github.com/keybrake/keybrake-go/internal/mutants

go 1.25.0
