module github.com/keybrake/keybrake-go/credentials/gcp

go 1.25.0

require (
	github.com/keybrake/keybrake-go v0.0.0
	golang.org/x/oauth2 v0.36.0
)

require (
	cloud.google.com/go/compute/metadata v0.9.0 // indirect
	golang.org/x/sys v0.35.0 // indirect
)

replace github.com/keybrake/keybrake-go => ../..
