package journal

import "tenement.dev/internal/event"

// messageIDs are the MESSAGE_ID= of each kind of event (systemd.journal-fields(7)). They
// were made at random once and never change: packaging/tenement.catalog explains them,
// and people have rules for them.
var messageIDs = map[event.Kind]string{
	event.State:         "d73b6804496f41eeb5a3d30b2352095e",
	event.Created:       "f37698c22d1448f2956989aadc951ae0",
	event.Destroyed:     "510cf1e5f107448f811287af3bab0795",
	event.Adopted:       "a6ad6a210018403f98a15a661141e0fb",
	event.Woke:          "b028fe32f1bf4751a628efb2b9a32818",
	event.WakeFailed:    "4b3eb980950842debfa8f7f7a30be0fb",
	event.WakeWithdrawn: "4546818b2cfd47beb4fee8e63545b45d",
	event.Dozed:         "c137fa5a08c4401f99830f9eb5cee8f6",
	event.Stopped:       "bdbb4914bbbc4936a85b33554d640ca1",
	event.Ended:         "09d38c97b3fa49609b7988a1b1bd3694",
	event.Restarting:    "8236196d0eee4338894b3e0b0e758be7",
	event.Health:        "24e28e80d1dd4e2288e89e9da2998384",
	event.Limits:        "436b51159e3544498f1bb6bb7e25221f",
	event.Weight:        "8d498b2b5f824a89950d451f3bad1fc3",
	event.Routed:        "cf7384b7e1c341fb8e29c2fa96168c00",
	event.Deployed:      "aec0920a203449a1b2bedf3131a67212",
	event.DeployFailed:  "aaaa2ca73ded4da1aceb04e192901057",
	event.DomainAdded:   "cb5151b902aa42b6a729a4459a9cc9dc",
	event.DomainRemoved: "6456de0b13bd4453b4565dc01ab8ef77",
	event.KeptAwake:     "1f0d9a0a4d394180af4af1a8acd3d7f5",
	event.BackedUp:      "5b1f5a3c0c6e4f6f9b52f8a0d1c7e3a4",
	event.Restored:      "c04b7d0e8a2f4c1db6c93f1e5a7d2088",
	event.Paused:        "47dcd8a5dc78412284d90369967abccb",
	event.Unpaused:      "0ba33adc7fc84837848f446371d105be",
	event.SecretSet:     "9f5f4f0f2d7b4bd2a7d9a1c07a7c5e31",
	event.SecretRemoved: "c1c35d7ab6c94b6fb0a8f9a7de0e4d52",
	event.Scheduled:     "2263c20369ff461a91063b5870bccf15",
	event.StorageFull:   "e2ea3f2eb4e147998d84deed55f77c78",
	event.MemoryShort:   "5837e6bbacee4352922dac43fddb081f",
	event.Rollout:       "4d65e9ed9b4048b1bb39d4acb77ac575",
	event.TokenCreated:  "53b9744469a54e799605edf4c198c552",
	event.TokenRevoked:  "84fb0b30da2d4ec09c0ea8249f95f588",
	event.Started:       "20ecdc42674444229f153f4fa946ad20",
	event.Stopping:      "ec7825fb8d7a4b5b8e787b37cc7bb4b8",
	event.Reloaded:      "56805f91bfcb4ad8a1d236a178129ea3",
	event.ReloadFailed:  "d4537737e6a6437f955dd9469abba771",
	event.Audit:         "b10501e22871496484d6f5cf995c3faf",
}

// otherID is that of a kind that has none of its own yet.
const otherID = "3ee34e60e115490a93aaf19726b0361b"
