// SPDX-License-Identifier: Apache-2.0

/// The response of a ``ReflectorStateMachine`` to an event. Its parts are carried out in the order of their
/// declaration.
struct ReflectorStep: Hashable {
    var replacements: [Replacement] = []
    /// Whether the credentials are read again before the next request, because the server has rejected the token.
    var reloadsCredentials = false
    /// Whether the failure persists until an operator acts.
    var needsHelp = false
    /// The next action; nil if the request in flight continues.
    var action: Action?

    /// Appends another step, whose action replaces this one's.
    mutating func add(_ next: ReflectorStep) {
        replacements += next.replacements
        action = next.action
    }
}

extension ReflectorStep {
    /// A list, or a page of one.
    struct ListRequest: Hashable {
        /// `0` for any state in the server's memory, empty for the newest state.
        var resourceVersion = "0"
        /// The maximum number of objects in a page; nil for all at once.
        var limit: Int?
        /// The token that requests the next page.
        var continueToken: String?
    }

    /// A watch.
    struct WatchRequest: Hashable {
        /// The version from which the watch continues; empty for the newest state.
        var resourceVersion: String
        /// Whether the existing objects come first, followed by a bookmark that marks their end (a streaming list).
        var sendsInitialEvents = false
        /// The duration after which the server ends the watch, in seconds.
        var timeoutSeconds: Int
    }

    /// The next action of the reflector.
    enum Action: Hashable {
        case list(ListRequest)
        case watch(WatchRequest)
        /// Requests the newest version.
        case version
        case wait(Duration)
    }

    /// A change of the set being gathered.
    enum Replacement: Hashable {
        case begin
        case commit
        case abandon
    }

    /// The failure of a request.
    struct Failure: Hashable {
        var kind: ReflectorFailure
        /// The status code of the response or of an error in a watch; nil without one.
        var status: Int?
        /// The wait that the server asked for.
        var retryAfter: Duration?
        /// Whether the server has not reached the requested version yet (`ResourceVersionTooLarge`).
        var isFromTheFuture = false
        /// Whether the failure ended a watch that had begun.
        var endedWatch = false
    }
}
