// Package gcp gets real credentials from Google Cloud's Secret Manager, through its REST API and Google's
// authentication library (golang.org/x/oauth2/google). It is a module of its own, so that only who imports it has that
// library; it needs none of the Cloud client libraries.
//
//	source := gcp.New(map[string]gcp.Secret{
//		"stripe": {Name: "projects/acme/secrets/stripe"},               // the latest version
//		"twilio": {Name: "projects/acme/secrets/twilio", Version: "7"}, // AC…:SK…:secret in one text
//	}, nil)
//	brake, err := keybrake.New(ctx, keybrake.Config{Credentials: source, …})
//
// # Who asks
//
// Application Default Credentials: the file that GOOGLE_APPLICATION_CREDENTIALS names (a service account's key, or the
// configuration of workload identity federation), else what "gcloud auth application-default login" wrote, else the
// attached service account (Compute Engine, Cloud Run, GKE). They are asked at the first Get, which keybrake.New
// makes, and again whenever their access token is about to expire, so that a file may be exchanged; [New] does
// no I/O and does not fail.
//
// The identity needs roles/secretmanager.secretAccessor, which is the permission secretmanager.versions.access, on
// these secrets and should have no more:
//
//	gcloud secrets add-iam-policy-binding stripe --role=roles/secretmanager.secretAccessor \
//		--member=serviceAccount:brake@acme.iam.gserviceaccount.com
//
// The agent must not run under this identity: who may ask the store needs no brake to get the credential.
//
// # Rotation
//
// A secret is read at its latest version unless the reference pins one, by number or alias. So once a new version is
// added, the next Get returns it; the brake asks again when its short cache has run out, or at once after the vendor
// has answered 401. "latest" is the newest version even if that is disabled, and then there is no credential.
//
// # What is refused
//
// Values that are empty, binary (not UTF-8), or whose CRC-32C is missing or not that of the value; replies beyond 1 MiB. Redirects are
// not followed, and plain http is spoken to this machine and to the metadata server alone, whatever a credentials file
// names as the place to get tokens from.
//
// # Errors
//
// An error is a [*credentials.Fault] (of credentials.Check, several joined). It names the reference, Google's status if it
// is a documented one and the HTTP status, and nothing else that the service said: no message, no value, no name of a
// secret. It wraps credentials.ErrUnknown where there is no such secret or version, where the version is disabled or
// destroyed, or where the value is empty. Any other means that the store could not be asked or that the value has not the
// stated form. An error because the context has ended, or [Options.Timeout], wraps its cause. Nothing is tried twice: the
// next Get is the next try.
//
// # Tested against
//
// The real authentication library against a local server that stands in for the token endpoint and for Secret Manager
// under their own host names: it verifies the signed assertion of a service account, checks bearer, path and version,
// and answers in the documented forms (Secret Manager REST API v1, November 2026). Not tested against Google itself;
// federation and the metadata server are the library's, and not tested here.
package gcp
