// The state machine of a section.
//
//              add                online                          online
//     absent ───────► offline ───────────► going-online ───────────────► online
//        ▲             │  ▲ ▲                   │                         │  ▲
//        └──── remove ─┘  │ └───── veto ────────┘                offline  │  │ veto, busy, deadline
//                         │                                               ▼  │
//                         └─────────────────────────────────────────── going-offline
//
// Beside it, a section may be a device's: absent ──► device ──► absent. No zone ever has it.
//
// (Linux: drivers/base/memory.c. There, going-online is the name of an event and never a state; here a transition
// that is under way is visible, and everybody else's gets EBUSY.)

package enum SectionState: UInt8, BitwiseCopyable, Sendable {
  /// Zero, so that a fresh record is in this state.
  case absent, offline, goingOnline, online, goingOffline
  /// Part of a region with an owner of its own.
  case device

  /// Whether a section in this state may go to `next`.
  package func leads(to next: SectionState) -> Bool {
    switch (self, next) {
    case (.absent, .offline), (.offline, .absent): true
    case (.absent, .device), (.device, .absent): true
    case (.offline, .goingOnline), (.goingOnline, .offline), (.goingOnline, .online): true
    case (.online, .goingOffline), (.goingOffline, .online), (.goingOffline, .offline): true
    default: false
    }
  }
}
