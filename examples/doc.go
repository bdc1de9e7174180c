// Package examples holds runnable apps, each in a folder with its tenement.toml and a README. Its tests do what each README
// says, word for word, and let the app doze, sleep and wake; others run an app as its tenement.toml says, but without
// Tenement, and show what it does by itself.
//
// Invariants:
//
//   - An app knows nothing of tenants. It reads its environment, listens on 127.0.0.1:$PORT only (or takes the descriptor that
//     it is given), keeps what shall last in $DATA_DIR, and ends when it gets SIGTERM.
//   - An app needs its runtime, and what Debian has for that. Only node-fastify has packages of its own, and a lock file.
//   - In a README a block of "sh build" is run once, "sh serve" is the daemon, other blocks of "sh" are run one after the
//     other, and a block of "output" is what the one before it prints.
package examples
