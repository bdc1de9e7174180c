package config

import (
	"tenement.dev/internal/tenant"
)

// key is one key of a table that becomes a T: its name, its default as TOML would
// give it (nil for none), and how it is read. The fields' comments are the reference.
type key[T any] struct {
	name     string
	standard any
	reader   func(*T) reader
}

// tables are what may stand at the top of the file.
var tables = []string{"settings", "service", "instances"}

var settingsKeys = []key[Settings]{
	{"data_dir", "./data", func(s *Settings) reader { return text(&s.DataDir) }},
	{"domain", nil, func(s *Settings) reader { return domains(&s.Domains) }},
	{"armed", nil, func(s *Settings) reader { return number(&s.Armed, 0, 10_000) }},
	{"doorbells", int64(64), func(s *Settings) reader { return number(&s.Doorbells, 0, 100_000) }},
	{"health_check_interval", int64(10), func(s *Settings) reader { return seconds(&s.HealthCheckInterval, shortest) }},
	{"max_restarts", int64(3), func(s *Settings) reader { return number(&s.MaxRestarts, 0, 1_000_000) }},
	{"restart_window", int64(300), func(s *Settings) reader { return seconds(&s.RestartWindow, shortest) }},
	{"backoff_base_ms", int64(1000), func(s *Settings) reader { return milliseconds(&s.BackoffBase) }},
	{"backoff_max_ms", int64(60_000), func(s *Settings) reader { return milliseconds(&s.BackoffMax) }},
	{"port_range", "30000-32767", func(s *Settings) reader { return ports(&s.PortMin, &s.PortMax) }},
	{"wake_concurrency", nil, func(s *Settings) reader { return number(&s.WakeConcurrency, 1, 10_000) }},
	{"max_waiting", int64(5000), func(s *Settings) reader { return number(&s.MaxWaiting, 1, 1_000_000) }},
	{"metrics_listen", nil, func(s *Settings) reader { return loopback(&s.MetricsListen) }},
	{"metrics_per_instance", true, func(s *Settings) reader { return flag(&s.MetricsPerInstance) }},
	{"metrics_max_instances", int64(1000), func(s *Settings) reader { return number(&s.MetricsMaxInstances, 1, 100_000) }},
	{"trusted_proxies", nil, func(s *Settings) reader { return prefixes(&s.TrustedProxies) }},
	{"public", nil, func(s *Settings) reader { return public(&s.Public) }},
	{"fast_path", true, func(s *Settings) reader { return flag(&s.FastPath) }},
	{"proxy_protocol", false, func(s *Settings) reader { return flag(&s.ProxyProtocol) }},
	{"api_listen", nil, func(s *Settings) reader { return address(&s.APIListen, 9090) }},
	{"api_domain", false, func(s *Settings) reader { return flag(&s.APIDomain) }},
	{"verify_domains", false, func(s *Settings) reader { return flag(&s.VerifyDomains) }},
	{"dns_resolver", nil, func(s *Settings) reader { return address(&s.DNSResolver, 53) }},
	{"dashboard", true, func(s *Settings) reader { return flag(&s.Dashboard) }},
	{"tls", nil, func(s *Settings) reader { return table(&s.TLS.table) }},
}

var tlsKeys = []key[TLS]{
	{"cert", nil, func(t *TLS) reader { return oneOrMore(&t.Certs) }},
	{"key", nil, func(t *TLS) reader { return oneOrMore(&t.Keys) }},
	{"acme", false, func(t *TLS) reader { return flag(&t.ACME) }},
	{"email", nil, func(t *TLS) reader { return text(&t.Email) }},
	{"staging", false, func(t *TLS) reader { return flag(&t.Staging) }},
	{"directory", nil, func(t *TLS) reader { return text(&t.Directory) }},
	{"directory_ca", nil, func(t *TLS) reader { return text(&t.DirectoryCA) }},
	{"orders_per_hour", int64(20), func(t *TLS) reader { return number(&t.OrdersPerHour, 1, 10_000) }},
	{"orders_per_domain", int64(40), func(t *TLS) reader { return number(&t.OrdersPerDomain, 1, 10_000) }},
	{"redirect", true, func(t *TLS) reader { return flag(&t.Redirect) }},
	{"hsts", int64(0), func(t *TLS) reader { return seconds(&t.HSTS, 0) }},
}

var serviceKeys = []key[draft]{
	{"command", nil, func(d *draft) reader { return command(&d.Command) }},
	{"args", nil, func(d *draft) reader { return texts(&d.args) }},
	{"env", nil, func(d *draft) reader { return table(&d.env) }},
	{"workdir", nil, func(d *draft) reader { return text(&d.Workdir) }},
	{"release", nil, func(d *draft) reader { return text(&d.Release) }},
	{"health", nil, func(d *draft) reader { return text(&d.Health) }},
	{"isolation", "namespace", func(d *draft) reader {
		return choice(&d.Isolation, tenant.IsolationProcess, tenant.IsolationNamespace, tenant.IsolationSandbox)
	}},
	{"network", "host", func(d *draft) reader { return choice(&d.Network, tenant.NetworkHost, tenant.NetworkPrivate) }},
	{"listen", "port", func(d *draft) reader {
		return choice(&d.Listen, tenant.ListenPort, tenant.ListenUnix, tenant.ListenFD)
	}},
	{"socket", nil, func(d *draft) reader { return text(&d.Socket) }},
	{"user", nil, func(d *draft) reader { return text(&d.User) }},
	{"bind_read_only_paths", nil, func(d *draft) reader { return texts(&d.BindReadOnlyPaths) }},
	{"idle_timeout", int64(0), func(d *draft) reader { return seconds(&d.IdleTimeout, 0) }},
	{"doze_timeout", int64(0), func(d *draft) reader { return seconds(&d.DozeTimeout, 0) }},
	{"keep_awake_max", int64(3600), func(d *draft) reader { return seconds(&d.KeepAwakeMax, 0) }},
	{"busy_max", int64(600), func(d *draft) reader { return seconds(&d.BusyMax, 0) }},
	{"schedule", nil, func(d *draft) reader { return texts(&d.Schedule) }},
	{"schedule_path", nil, func(d *draft) reader { return text(&d.SchedulePath) }},
	{"startup_timeout", int64(10), func(d *draft) reader { return seconds(&d.StartupTimeout, shortest) }},
	{"request_timeout", int64(30), func(d *draft) reader { return seconds(&d.RequestTimeout, 0) }},
	{"waiting_page", 1.5, func(d *draft) reader { return seconds(&d.WaitingPage, 0) }},
	// systemd takes 0 for infinity (systemd.service(5), TimeoutStopSec=).
	{"stop_grace", int64(10), func(d *draft) reader { return seconds(&d.StopGrace, shortest) }},
	{"memory_limit_mb", nil, func(d *draft) reader { return megabytes(&d.Limits, tenant.LimitMemory) }},
	{"cpu_quota", nil, func(d *draft) reader { return percent(&d.Limits, tenant.LimitCPUQuota) }},
	{"cpu_shares", nil, func(d *draft) reader { return count(&d.Limits, tenant.LimitCPUShares) }},
	{"io_weight", nil, func(d *draft) reader { return count(&d.Limits, tenant.LimitIOWeight) }},
	{"tasks_max", nil, func(d *draft) reader { return count(&d.Limits, tenant.LimitTasks) }},
	{"nofile", nil, func(d *draft) reader { return count(&d.Limits, tenant.LimitNoFile) }},
	{"storage_quota_mb", nil, func(d *draft) reader { return megabytes(&d.Limits, tenant.LimitStorage) }},
	{"max_instances", nil, func(d *draft) reader { return number(&d.MaxInstances, 1, 1_000_000) }},
	{"max_in_flight", int64(2000), func(d *draft) reader { return number(&d.MaxInFlight, 1, 1_000_000) }},
	{"no_wake", nil, func(d *draft) reader { return kinds(&d.NoWake) }},
	{"on_demand", false, func(d *draft) reader { return flag(&d.OnDemand) }},
	{"access_log", false, func(d *draft) reader { return accessLog(&d.AccessLog) }},
	{"access_log_query", false, func(d *draft) reader { return flag(&d.AccessLogQuery) }},
	{"error_pages", nil, func(d *draft) reader { return text(&d.ErrorPages) }},
	{"keepalive", true, func(d *draft) reader { return flag(&d.KeepAlive) }},
	{"service_host", true, func(d *draft) reader { return flag(&d.ServiceHost) }},
	{"sticky", false, func(d *draft) reader { return flag(&d.Sticky) }},
	{"storage_persist", true, func(d *draft) reader { return flag(&d.StoragePersist) }},
	{"restart", "on-failure", func(d *draft) reader {
		return choice(&d.Restart, RestartOnFailure, RestartAlways, RestartNever)
	}},
}

// names lists the keys' names.
func names[T any](keys []key[T]) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return list
}
