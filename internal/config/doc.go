// Package config turns tenement.toml into an immutable Config: defaults, strict
// decode, validation, all faults at once with file and line.
//
// # Invariants
//
//   - A Config that Load or Parse returned is complete and valid; nobody changes it.
//     A reload makes a new one.
//   - Nothing that the file says is ignored: a key is known and used, or it is a
//     fault.
//   - Each key, its default and how it is read are one line in schema.go, and what it does is
//     one in reference.go, of which docs/configuration.md is made.
//   - A command line is split into words before placeholders are filled in, so
//     nothing that an instance is called can become a second word.
//   - The environment of the calling process has no influence on the result.
//
// # Placeholders
//
// The elements of command and args, the values of env, workdir and socket may
// contain these:
//
//	{name}      the service's name
//	{id}        the instance's name
//	{data_dir}  the service's own directory, settings.data_dir/SERVICE
//	{port}      the instance's TCP port, with listen = "port"
//	{socket}    the instance's Unix socket, with listen = "unix"
//	{release}   the instance's release, with release; not in socket
//
// So "{data_dir}/{id}" is the instance's own data directory. For people who take
// {data_dir} for the setting itself, "{data_dir}/{name}/{id}" is the same directory.
// An instance sees nothing else below settings.data_dir from isolation "namespace"
// on, hence {data_dir} without /{id} behind it is a fault there.
//
// "{{" gives "{", and the "}}" that closes it gives "}". Other braces, as in
// {"a":{"b":1}}, stay as they are.
package config
