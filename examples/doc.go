// Package examples holds runnable apps, each in a folder with its tenement.toml and a README. Its tests run each app as
// its tenement.toml says, but without Tenement: what an app does by itself is shown here, what Tenement makes of it in
// the integration tests.
//
// Invariants:
//
//   - An app knows nothing of tenants. It reads its environment, listens on 127.0.0.1:$PORT only, keeps what shall last
//     in $DATA_DIR, and ends when it gets SIGTERM.
//   - An app needs its runtime and nothing else: no packages to install.
package examples
