// SPDX-License-Identifier: Apache-2.0

import HTTPClient

/// Why a request of a reflector failed: for the state machine, and for a human.
struct RequestProblem: Error {
    private(set) var failure: ReflectorStep.Failure
    let message: String

    /// A refusal, as the answer to a request or within a watch.
    init(_ status: KubernetesStatus, retryAfter: Duration? = nil, verb: String, _ resource: String) {
        let kind = ReflectorFailure(status: status.code)
        failure = ReflectorStep.Failure(
            kind: kind, status: status.code,
            retryAfter: retryAfter ?? status.retryAfterSeconds.map { .seconds($0) },
            isFromTheFuture: status.code == 504 && status.message.contains("Too large resource version"))
        let remedy =
            switch kind {
            case .forbidden:
                "; a ClusterRole must grant the verbs list and watch on \(resource) to this service account"
            case .unauthorized: "; the token is read again"
            default: ""
            }
        message = "cannot \(verb) \(resource): \(status)\(remedy)"
    }

    /// A streaming list that ended before all of its objects had come.
    static let unfinishedStreamingList = RequestProblem(
        failure: ReflectorStep.Failure(kind: .connection), message: "the streaming list ended before its end")

    /// A watch that told nothing for so long.
    static func silence(of resource: String, for duration: Duration) -> RequestProblem {
        RequestProblem(
            failure: ReflectorStep.Failure(kind: .timeout),
            message: "the watch of \(resource) told nothing for \(duration), not even a bookmark: the API "
                + "server or the way to it hangs")
    }

    /// The same, of a watch that had begun.
    var ofBegunWatch: RequestProblem {
        var problem = self
        problem.failure.endedWatch = true
        return problem
    }

    private init(failure: ReflectorStep.Failure, message: String) {
        self.failure = failure
        self.message = message
    }

    /// An answer that cannot be read on.
    init(_ error: KubernetesDecodingError) {
        failure = ReflectorStep.Failure(kind: .malformed)
        message = "\(error)"
    }

    /// No answer, or half of one.
    init(_ error: KubernetesClientError) {
        switch error {
        case .credentials(let reason):
            failure = ReflectorStep.Failure(kind: .credentials)
            message = reason
        case .http(let error):
            failure = ReflectorStep.Failure(kind: ReflectorFailure(error))
            message = error.message
        }
    }
}

/// What has come of a request so far.
struct KubernetesExchange {
    var head: HTTPHead?
    private var body: [UInt8] = []

    /// Keeps the beginning of a refusal's body; false where it is long enough.
    mutating func addToRefusal(_ chunk: UnsafeRawBufferPointer) -> Bool {
        body.append(contentsOf: chunk.prefix(64 << 10))
        return body.count < 64 << 10
    }

    /// The refusal, where the answer is one.
    func refusal(verb: String, _ resource: String) -> RequestProblem? {
        guard let head, head.status != 200 else { return nil }
        return RequestProblem(
            KubernetesStatus(code: head.status, body: body), retryAfter: head.retryAfter, verb: verb, resource)
    }
}
