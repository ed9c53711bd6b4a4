// SPDX-License-Identifier: Apache-2.0

/// What a ``ReflectorStateMachine`` answers to an event. Its parts are done in the order in which they stand here.
struct ReflectorStep: Hashable {
    var replacements: [Replacement] = []
    /// The token was refused: it is read again before the next request.
    var reloadsCredentials = false
    /// What failed stays so until somebody does something about it.
    var needsHelp = false
    /// What is to be done; nil where the request under way goes on.
    var action: Action?

    /// Goes on with another step.
    mutating func add(_ next: ReflectorStep) {
        replacements += next.replacements
        action = next.action
    }
}

extension ReflectorStep {
    /// A list, or a page of one.
    struct ListRequest: Hashable {
        /// `0` for whatever the server has in memory, empty for the newest state.
        var resourceVersion = "0"
        /// The most objects of a page; nil for all at once.
        var limit: Int?
        /// What asks for the next page.
        var continueToken: String?
    }

    /// A watch.
    struct WatchRequest: Hashable {
        /// Where it goes on; empty for the newest state.
        var resourceVersion: String
        /// Whether the objects that are there come first, and then a bookmark that says so (a streaming list).
        var sendsInitialEvents = false
        /// After how many seconds the server ends it.
        var timeoutSeconds: Int
    }

    /// What is to be done next.
    enum Action: Hashable {
        case list(ListRequest)
        case watch(WatchRequest)
        /// Ask for the newest version.
        case version
        case wait(Duration)
    }

    /// What becomes of the set that is being gathered.
    enum Replacement: Hashable {
        case begin
        case commit
        case abandon
    }

    /// Why a request failed.
    struct Failure: Hashable {
        var kind: ReflectorFailure
        /// The status code, of the response or of an error in a watch; nil where there is none.
        var status: Int?
        /// How long the server asks to be left alone.
        var retryAfter: Duration?
        /// Whether the server does not have the version asked for yet (`ResourceVersionTooLarge`).
        var isFromTheFuture = false
        /// Whether it ended a watch that had begun.
        var endedWatch = false
    }
}
