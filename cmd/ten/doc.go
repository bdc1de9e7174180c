// Command ten is Tenement: the daemon (`ten serve`) and what talks to it.
//
// # Invariants
//
//   - Every command is a thin skin over a function that a test can call; run is the
//     whole program but for the process around it.
//   - stdout has what was asked for. What goes wrong is on stderr: a line "ten: what"
//     and a line "hint: what to do". The exit codes are in `ten --help`.
//   - Nothing that a tenant can choose reaches a terminal with its control characters.
//   - serve.go and parts.go alone know all parts of the daemon.
//
// # Where to find what
//
// A command is in the file of its name: `ten ps` in ps.go. The commands share:
//
//	main.go          the process
//	root.go          the program: all commands, and what holds for all
//	world.go         what it knows of the outside
//	address.go       which daemon is asked, and asking it
//	each.go          one thing after the other with several instances
//	tokens.go        tokens, with the daemon or without
//	grant.go         data that the keeper hands to the daemon
//	newfile.go       files that are there when they are whole
//	detect.go        what kind of app a directory has
//	installconfig.go the configuration that an installation begins with
//	report.go        errors, and exit codes
//	helptext.go      the exit codes of each command
//	terminal.go      tables, colours, progress
//	text.go          values for people, and JSON
//
// Of the daemon, which `ten serve` runs:
//
//	serve.go         its start and its end
//	parts.go         its parts, and what they know of each other
//	powers.go        what it does with rights that are its own or the keeper's
//	probe.go         what it finds out about the machine
//	locate.go        where it finds ten-init and its state
//	lock.go          that there is one
//	listen.go        listeners for clients
//	proxyprotocol.go those that proxies connect to
//	tls.go           those with TLS, and certificates
//	covered.go       hosts without a certificate
//	origin.go        the URLs that people are told
//	operators.go     listeners for operators, and who they are
//	socketuid.go     whose a TCP connection of this machine is
//	dashboard.go     the dashboard
//	metrics.go       metrics
//	accesslog.go     the access log
//	adapt.go         parts as other parts want them
//	marks.go         who is armed, over restarts
//	resolver.go      TXT records
//	reloader.go      a configuration that is read again
//	warn.go          what is said of it in the log
//	servicehost.go   services that any instance answers for
//	orphans.go       instances that nobody reaches
//	room.go          disks that are nearly full
//	registryfile.go  the registry's file, which somebody may take away
//	memory.go        where the memory of all instances is told
//	heap.go          the daemon's own
//	asynclog.go      a log that nobody waits for
//	watchdog.go      systemd's watchdog
package main
