package aws

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/keybrake/keybrake-go/credentials"
)

// Options are the settings of a Source. Each zero field has a good default.
type Options struct {
	// Config is the SDK's, for another identity or endpoint than those of the default chain. Nil means what
	// config.LoadDefaultConfig finds, asked at the first Get, and again after it failed.
	Config *aws.Config

	// Region is where names are looked up; ARNs say it themselves. Empty means that of the configuration.
	Region string

	// Timeout bounds one Get with all that it needs, the SDK's retries included. Zero means 10 seconds.
	Timeout time.Duration
}

// A Source is a credentials.Source over Secrets Manager and Parameter Store. It may be used by many goroutines at once,
// and keeps no value: each Get asks the service.
type Source struct {
	refs   map[string]Reference
	opts   Options
	loaded atomic.Pointer[aws.Config] // ready for a client; nil until the first success
}

// New returns a source of the given references. It does no I/O. Nil options mean the default ones.
func New(refs map[string]Reference, o *Options) *Source {
	s := &Source{refs: maps.Clone(refs)}
	if o != nil {
		s.opts = *o
	}
	if s.opts.Timeout == 0 {
		s.opts.Timeout = 10 * time.Second
	}
	return s
}

// Get asks the service for the credential of ref.
func (s *Source) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	at := s.refs[ref]
	if at == nil {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Err: credentials.ErrUnknown}
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	cfg, err := s.config(ctx, at.region())
	if err != nil {
		return credentials.Credential{}, failure(ctx, ref, at.service(), cfg.Region, err)
	}
	value, err := at.read(ctx, cfg)
	if err != nil {
		return credentials.Credential{}, failure(ctx, ref, at.service(), cfg.Region, err)
	}
	parts, err := split(value, at.fields())
	if err != nil {
		return credentials.Credential{}, failure(ctx, ref, at.service(), cfg.Region, err)
	}
	return credentials.New(parts...), nil
}

// Refs are the references, in order: keybrake.New fetches them all.
func (s *Source) Refs() []string { return slices.Sorted(maps.Keys(s.refs)) }

// config is the configuration for one request in the region given or else in the configured one. It has an identity:
// a chain that finds none is told from a service that refuses.
func (s *Source) config(ctx context.Context, region string) (aws.Config, error) {
	ready := s.loaded.Load()
	if ready == nil {
		cfg, err := s.load(ctx)
		if err != nil {
			return aws.Config{}, err
		}
		ready = &cfg
		s.loaded.CompareAndSwap(nil, ready) // of two that load at once, one is kept; either serves
	}
	cfg := *ready
	if region != "" {
		cfg.Region = region
	}
	if cfg.Region == "" {
		return cfg, refused("no region is configured; set AWS_REGION or Options.Region")
	}
	if cfg.Credentials == nil {
		return cfg, errIdentity
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return cfg, errIdentity
	}
	return cfg, nil
}

func (s *Source) load(ctx context.Context) (cfg aws.Config, err error) {
	if s.opts.Config != nil {
		cfg = s.opts.Config.Copy()
	} else if cfg, err = config.LoadDefaultConfig(ctx); err != nil {
		return aws.Config{}, refused("the shared configuration (AWS_PROFILE, ~/.aws/config) cannot be loaded; try: aws configure list")
	}
	if s.opts.Region != "" {
		cfg.Region = s.opts.Region
	}
	cfg.HTTPClient = guard(cfg.HTTPClient)
	cfg.ClientLogMode = 0 // it can log bodies, which are the credentials
	return cfg, nil
}
