package registry

// applicationID marks a file as ours: "TENT" in ASCII (sqlite.org/fileformat2.html,
// section 1.3.1).
const applicationID = 0x54454e54

// migrations make schema version N+1 out of version N, where N is the index. A
// released one is never changed; what is to change is appended.
//
// Times are microseconds since 1970 in UTC, 0 for never.
var migrations = []string{
	`CREATE TABLE instances (
		service     TEXT    NOT NULL,
		name        TEXT    NOT NULL,
		port        INTEGER UNIQUE CHECK (port BETWEEN 1 AND 65535),
		created     INTEGER NOT NULL,
		last_active INTEGER NOT NULL DEFAULT 0,
		wakes       INTEGER NOT NULL DEFAULT 0 CHECK (wakes >= 0),
		thaws       INTEGER NOT NULL DEFAULT 0 CHECK (thaws >= 0),
		PRIMARY KEY (service, name)
	) STRICT, WITHOUT ROWID`,
	`CREATE TABLE weights (
		service TEXT    NOT NULL,
		name    TEXT    NOT NULL,
		weight  INTEGER NOT NULL CHECK (weight BETWEEN 0 AND 10000),
		PRIMARY KEY (service, name)
	) STRICT, WITHOUT ROWID`,
	`CREATE TABLE domains (
		host    TEXT    NOT NULL PRIMARY KEY,
		service TEXT    NOT NULL,
		name    TEXT    NOT NULL,
		created INTEGER NOT NULL
	) STRICT, WITHOUT ROWID`,
	// Until when an app and the operators want it awake; when each schedule entry was
	// last seen to, and which instances still have a run of it to come.
	`ALTER TABLE instances ADD COLUMN app_lease INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE instances ADD COLUMN operator_lease INTEGER NOT NULL DEFAULT 0;
	CREATE TABLE schedules (
		service TEXT    NOT NULL,
		entry   TEXT    NOT NULL,
		seen    INTEGER NOT NULL,
		PRIMARY KEY (service, entry)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE runs (
		service TEXT NOT NULL,
		name    TEXT NOT NULL,
		entry   TEXT NOT NULL,
		PRIMARY KEY (service, name, entry),
		FOREIGN KEY (service, name) REFERENCES instances (service, name) ON DELETE CASCADE
	) STRICT, WITHOUT ROWID`,

	// failures is a JSON array of times.
	`CREATE TABLE brakes (
		service  TEXT    NOT NULL,
		name     TEXT    NOT NULL,
		restarts INTEGER NOT NULL CHECK (restarts >= 0),
		failures TEXT    NOT NULL,
		failed   INTEGER NOT NULL CHECK (failed IN (0, 1)),
		reason   TEXT    NOT NULL,
		PRIMARY KEY (service, name),
		FOREIGN KEY (service, name) REFERENCES instances ON DELETE CASCADE
	) STRICT, WITHOUT ROWID`,

	// limits is a JSON object of an instance's own limits, storage the bytes that its
	// data had when it was last looked at.
	`ALTER TABLE instances ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
	ALTER TABLE instances ADD COLUMN storage INTEGER NOT NULL DEFAULT 0 CHECK (storage >= 0)`,

	// A name of '' stands for all instances of the service, until of 0 for no end.
	`CREATE TABLE pauses (
		service TEXT    NOT NULL,
		name    TEXT    NOT NULL,
		message TEXT    NOT NULL,
		since   INTEGER NOT NULL,
		until   INTEGER NOT NULL,
		PRIMARY KEY (service, name)
	) STRICT, WITHOUT ROWID`,

	// The release of each instance that a rollout has changed, with what it had before and
	// how far that has got (tenant.Step); the release of each service's new instances; the
	// latest rollout of each service, with its plan as JSON.
	`CREATE TABLE releases (
		service TEXT    NOT NULL,
		name    TEXT    NOT NULL,
		release TEXT    NOT NULL,
		before  TEXT    NOT NULL,
		step    INTEGER NOT NULL CHECK (step BETWEEN 0 AND 2),
		PRIMARY KEY (service, name),
		FOREIGN KEY (service, name) REFERENCES instances ON DELETE CASCADE
	) STRICT, WITHOUT ROWID;
	CREATE TABLE service_releases (
		service TEXT NOT NULL PRIMARY KEY,
		release TEXT NOT NULL
	) STRICT, WITHOUT ROWID;
	CREATE TABLE rollouts (
		service  TEXT    NOT NULL PRIMARY KEY,
		release  TEXT    NOT NULL,
		previous TEXT    NOT NULL,
		plan     TEXT    NOT NULL,
		state    TEXT    NOT NULL,
		reason   TEXT    NOT NULL,
		begun    INTEGER NOT NULL,
		ended    INTEGER NOT NULL
	) STRICT, WITHOUT ROWID`,

	// hash is the SHA-256 of a token's secret; tenant is empty for an admin's; allow is
	// a list with commas.
	`CREATE TABLE tokens (
		id          TEXT    NOT NULL PRIMARY KEY,
		hash        BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
		tenant      TEXT    NOT NULL,
		allow       TEXT    NOT NULL,
		description TEXT    NOT NULL,
		created     INTEGER NOT NULL,
		expires     INTEGER NOT NULL,
		used        INTEGER NOT NULL
	) STRICT, WITHOUT ROWID`,

	// What was used on a day (in UTC) outlasts its instance: times in microseconds, memory in
	// bytes times seconds. metered is how far the present processes are counted.
	`CREATE TABLE use (
		day      TEXT    NOT NULL,
		service  TEXT    NOT NULL,
		name     TEXT    NOT NULL,
		requests INTEGER NOT NULL,
		received INTEGER NOT NULL,
		sent     INTEGER NOT NULL,
		awake    INTEGER NOT NULL,
		dozing   INTEGER NOT NULL,
		cpu      INTEGER NOT NULL,
		memory   REAL    NOT NULL,
		storage  INTEGER NOT NULL,
		PRIMARY KEY (day, service, name)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE metered (
		service TEXT    NOT NULL,
		name    TEXT    NOT NULL,
		started INTEGER NOT NULL,
		cpu     INTEGER NOT NULL,
		at      INTEGER NOT NULL,
		PRIMARY KEY (service, name),
		FOREIGN KEY (service, name) REFERENCES instances ON DELETE CASCADE
	) STRICT, WITHOUT ROWID`,

	// Since when an instance has been at rest, 0 for one that is not; why it went to sleep,
	// and how it failed before that.
	`ALTER TABLE instances ADD COLUMN rests_since INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE instances ADD COLUMN rested TEXT NOT NULL DEFAULT '';
	ALTER TABLE instances ADD COLUMN reason TEXT NOT NULL DEFAULT ''`,

	// A claim is a host name that is pending: several instances may have it.
	`ALTER TABLE domains ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
	CREATE TABLE claims (
		host    TEXT    NOT NULL,
		service TEXT    NOT NULL,
		name    TEXT    NOT NULL,
		token   TEXT    NOT NULL,
		created INTEGER NOT NULL,
		PRIMARY KEY (host, service, name),
		FOREIGN KEY (service, name) REFERENCES instances ON DELETE CASCADE
	) STRICT, WITHOUT ROWID`,

	// What a running instance does ('awake', 'dozing', or nothing of both), since when, and in
	// which process; what woke it last, and that wake as JSON. The one row of daemon says
	// whether the latest one has left in order, with all of this saved.
	`ALTER TABLE instances ADD COLUMN runs TEXT NOT NULL DEFAULT '' CHECK (runs IN ('', 'awake', 'dozing'));
	ALTER TABLE instances ADD COLUMN runs_since INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE instances ADD COLUMN process INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE instances ADD COLUMN woken_by TEXT NOT NULL DEFAULT '';
	ALTER TABLE instances ADD COLUMN woken_at INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE instances ADD COLUMN last_wake TEXT NOT NULL DEFAULT '';
	CREATE TABLE daemon (
		id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
		orderly INTEGER NOT NULL CHECK (orderly IN (0, 1))
	) STRICT;
	INSERT INTO daemon (id, orderly) VALUES (1, 0)`,

	// Which secrets there are, without their values; a name of '' stands for the service.
	`CREATE TABLE secrets (
		service TEXT    NOT NULL,
		name    TEXT    NOT NULL,
		secret  TEXT    NOT NULL,
		env     INTEGER NOT NULL CHECK (env IN (0, 1)),
		changed INTEGER NOT NULL,
		PRIMARY KEY (service, name, secret)
	) STRICT, WITHOUT ROWID`,
}

// Opening and migrating.
const (
	sqlQuickCheck     = `PRAGMA quick_check(1)`
	sqlApplicationID  = `PRAGMA application_id`
	sqlVersion        = `PRAGMA user_version`
	sqlCountObjects   = `SELECT count(*) FROM sqlite_schema`
	sqlSetApplication = `PRAGMA application_id = %d`
	sqlSetVersion     = `PRAGMA user_version = %d`
	sqlBackup         = `VACUUM INTO ?`
	sqlEmptyLog       = `PRAGMA wal_checkpoint(TRUNCATE)`
)

// Instances. A port of 0 is stored as NULL, of which a unique column holds many.
const (
	sqlCount = `SELECT count(*) FROM instances`
	sqlList  = `SELECT service, name, ifnull(port, 0), created, last_active, wakes, thaws, app_lease, operator_lease,
			rests_since, rested, reason, runs, runs_since, process, woken_by, woken_at, last_wake
		FROM instances ORDER BY service, name`

	sqlAdd = `INSERT INTO instances (service, name, port, created, last_active, wakes, thaws)
		VALUES (?1, ?2, nullif(?3, 0), ?4, ?5, ?6, ?7)
		ON CONFLICT (service, name) DO NOTHING`

	sqlRemove = `DELETE FROM instances WHERE service = ?1 AND name = ?2`

	sqlSetPort = `UPDATE instances SET port = nullif(?3, 0) WHERE service = ?1 AND name = ?2`

	sqlWeights      = `SELECT service, name, weight FROM weights`
	sqlSetWeight    = `INSERT OR REPLACE INTO weights (service, name, weight) VALUES (?1, ?2, ?3)`
	sqlRemoveWeight = `DELETE FROM weights WHERE service = ?1 AND name = ?2`
	sqlLimits       = `SELECT service, name, limits, storage FROM instances
		WHERE limits != '{}' OR storage != 0`

	sqlSetLimits = `UPDATE instances SET limits = ?3 WHERE service = ?1 AND name = ?2`

	sqlSetStorage = `UPDATE instances SET storage = ?3 WHERE service = ?1 AND name = ?2`

	sqlDomains       = `SELECT host, service, name, created, verified, '' FROM domains ORDER BY host`
	sqlAddDomain     = `INSERT INTO domains (host, service, name, created) VALUES (?1, ?2, ?3, ?4)`
	sqlRemoveDomain  = `DELETE FROM domains WHERE host = ?1`
	sqlClaims        = `SELECT host, service, name, created, 0, token FROM claims ORDER BY host, service, name`
	sqlRemoveClaims  = `DELETE FROM claims WHERE host = ?1`
	sqlRemoveDomains = `DELETE FROM domains WHERE service = ?1 AND name = ?2`

	// Neither one who has the host name, nor one who is not registered, has a claim.
	sqlAddClaim = `INSERT INTO claims (host, service, name, token, created)
		SELECT ?1, service, name, ?4, ?5 FROM instances WHERE service = ?2 AND name = ?3
			AND NOT EXISTS (SELECT * FROM domains WHERE host = ?1)`
	sqlVerifyDomain = `INSERT INTO domains (host, service, name, created, verified)
		SELECT host, service, name, created, ?4 FROM claims WHERE host = ?1 AND service = ?2 AND name = ?3`

	sqlPauses = `SELECT service, name, message, since, until FROM pauses`

	// An instance that is not registered has none.
	sqlSetPause = `INSERT OR REPLACE INTO pauses (service, name, message, since, until) SELECT ?1, ?2, ?3, ?4, ?5
		WHERE ?2 = '' OR EXISTS (SELECT * FROM instances WHERE service = ?1 AND name = ?2)`
	sqlRemovePause = `DELETE FROM pauses WHERE service = ?1 AND name = ?2`

	sqlSecrets = `SELECT service, name, secret, env, changed FROM secrets ORDER BY service, name, secret`
	// An instance that is not registered has none.
	sqlSetSecret = `INSERT OR REPLACE INTO secrets (service, name, secret, env, changed) SELECT ?1, ?2, ?3, ?4, ?5
		WHERE ?2 = '' OR EXISTS (SELECT * FROM instances WHERE service = ?1 AND name = ?2)`
	sqlRemoveSecret  = `DELETE FROM secrets WHERE service = ?1 AND name = ?2 AND secret = ?3`
	sqlRemoveSecrets = `DELETE FROM secrets WHERE service = ?1 AND name = ?2`

	sqlBrakes = `SELECT service, name, restarts, failures, failed, reason FROM brakes`

	// An instance that is not registered has none.
	sqlSetBrake = `INSERT INTO brakes (service, name, restarts, failures, failed, reason)
		SELECT service, name, ?3, ?4, ?5, ?6 FROM instances WHERE service = ?1 AND name = ?2
		ON CONFLICT (service, name) DO UPDATE SET
			restarts = excluded.restarts, failures = excluded.failures,
			failed = excluded.failed, reason = excluded.reason`

	// sqlStrict has a change wait for the disk, and sqlRelax not (sqlite.org/pragma.html).
	sqlStrict = `PRAGMA synchronous = FULL`
	sqlRelax  = `PRAGMA synchronous = NORMAL`

	// ?1 is a JSON array of [service, name, last_active, wakes, thaws, app_lease,
	// operator_lease, rests_since, rested, reason, runs, runs_since, process, woken_by, woken_at,
	// last_wake]. Counters only rise; the rest is as it is.
	sqlSaveActivity = `UPDATE instances SET
			last_active = max(instances.last_active, new.last_active),
			wakes       = max(instances.wakes, new.wakes),
			thaws       = max(instances.thaws, new.thaws),
			app_lease   = new.app_lease, operator_lease = new.operator_lease,
			rests_since = new.rests_since, rested = new.rested, reason = new.reason,
			runs = new.runs, runs_since = new.runs_since, process = new.process,
			woken_by = new.woken_by, woken_at = new.woken_at, last_wake = new.last_wake
		FROM (SELECT value ->> 0 AS service, value ->> 1 AS name, value ->> 2 AS last_active,
				value ->> 3 AS wakes, value ->> 4 AS thaws, value ->> 5 AS app_lease, value ->> 6 AS operator_lease,
				value ->> 7 AS rests_since, value ->> 8 AS rested, value ->> 9 AS reason,
				value ->> 10 AS runs, value ->> 11 AS runs_since, value ->> 12 AS process,
				value ->> 13 AS woken_by, value ->> 14 AS woken_at, value ->> 15 AS last_wake
			FROM json_each(?1)) AS new
		WHERE instances.service = new.service AND instances.name = new.name`

	sqlOrderly    = `SELECT orderly FROM daemon`
	sqlSetOrderly = `UPDATE daemon SET orderly = ?1`
)

// Releases.
const (
	sqlReleases = `SELECT service, name, release, before, step FROM releases`

	// An instance that is not registered has none.
	sqlSetRelease = `INSERT INTO releases (service, name, release, before, step)
		SELECT service, name, ?3, ?4, ?5 FROM instances WHERE service = ?1 AND name = ?2
		ON CONFLICT (service, name) DO UPDATE SET
			release = excluded.release, before = excluded.before, step = excluded.step`

	sqlServiceReleases   = `SELECT service, release FROM service_releases`
	sqlSetServiceRelease = `INSERT OR REPLACE INTO service_releases (service, release) VALUES (?1, ?2)`

	sqlRollouts    = `SELECT service, release, previous, plan, state, reason, begun, ended FROM rollouts ORDER BY service`
	sqlSaveRollout = `INSERT OR REPLACE INTO rollouts (service, release, previous, plan, state, reason, begun, ended)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`
)

// Schedules.
const (
	sqlSchedules = `SELECT service, entry, seen FROM schedules ORDER BY service, entry`

	// ?1 is a JSON array of [service, entry, seen].
	sqlAddSchedules = `INSERT INTO schedules (service, entry, seen)
		SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true
		ON CONFLICT (service, entry) DO NOTHING`
	sqlDropSchedules = `DELETE FROM schedules WHERE (service, entry) NOT IN
		(SELECT value ->> 0, value ->> 1 FROM json_each(?1))`
	sqlDropRuns = `DELETE FROM runs WHERE (service, entry) NOT IN (SELECT service, entry FROM schedules)`

	sqlSeen = `UPDATE schedules SET seen = ?3 WHERE service = ?1 AND entry = ?2`
	sqlDue  = `INSERT INTO runs (service, name, entry)
		SELECT service, name, ?2 FROM instances WHERE service = ?1
		ON CONFLICT (service, name, entry) DO NOTHING`
	sqlRuns = `SELECT service, name, entry FROM runs ORDER BY service, name, entry`
	sqlRan  = `DELETE FROM runs WHERE service = ?1 AND name = ?2 AND entry = ?3`
)

// Tokens.
const (
	sqlTokens = `SELECT id, hash, tenant, allow, description, created, expires, used FROM tokens ORDER BY created, id`

	sqlAddToken = `INSERT INTO tokens (id, hash, tenant, allow, description, created, expires, used)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`
	sqlRemoveToken = `DELETE FROM tokens WHERE id = ?1`

	// ?1 is a JSON array of [id, used].
	sqlSaveTokenUse = `UPDATE tokens SET used = max(tokens.used, new.used)
		FROM (SELECT value ->> 0 AS id, value ->> 1 AS used FROM json_each(?1)) AS new
		WHERE tokens.id = new.id`
)

// Use.
const (
	// ?1 is a JSON array of [day, service, name, requests, received, sent, awake, dozing, cpu,
	// memory, storage].
	sqlAddUse = `INSERT INTO use (day, service, name, requests, received, sent, awake, dozing, cpu, memory, storage)
		SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
			value ->> 8, value ->> 9, value ->> 10 FROM json_each(?1) WHERE true
		ON CONFLICT (day, service, name) DO UPDATE SET
			requests = requests + excluded.requests, received = received + excluded.received, sent = sent + excluded.sent,
			awake = awake + excluded.awake, dozing = dozing + excluded.dozing, cpu = cpu + excluded.cpu,
			memory = memory + excluded.memory, storage = excluded.storage`

	sqlUse = `SELECT day, service, name, requests, received, sent, awake, dozing, cpu, memory, storage FROM use
		WHERE day BETWEEN ?1 AND ?2 AND (?3 = '' OR service = ?3) AND (?4 = '' OR name = ?4)
		ORDER BY day, service, name`
	sqlForgetUse = `DELETE FROM use WHERE day < ?1`

	// ?1 is a JSON array of [service, name, started, cpu, at]. An instance that is not
	// registered has none.
	sqlSetMetered = `INSERT INTO metered (service, name, started, cpu, at)
		SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
		FROM json_each(?1) JOIN instances ON service = value ->> 0 AND name = value ->> 1 WHERE true
		ON CONFLICT (service, name) DO UPDATE SET started = excluded.started, cpu = excluded.cpu, at = excluded.at`
	sqlMetered = `SELECT service, name, started, cpu, at FROM metered`
)
