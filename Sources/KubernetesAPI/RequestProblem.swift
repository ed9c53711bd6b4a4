// SPDX-License-Identifier: Apache-2.0

import HTTPClient

/// The reason for a failed request of a reflector: for the state machine and, as a message, for operators.
struct RequestProblem: Error {
    private(set) var failure: ReflectorStep.Failure
    let message: String

    /// Describes a rejection, in the response to a request or within a watch.
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

    /// A streaming list that ended before all of its objects had arrived.
    static let unfinishedStreamingList = RequestProblem(
        failure: ReflectorStep.Failure(kind: .connection), message: "the streaming list ended before it was complete")

    /// Returns the problem of a watch that was silent for a duration.
    static func silence(of resource: String, for duration: Duration) -> RequestProblem {
        RequestProblem(
            failure: ReflectorStep.Failure(kind: .timeout),
            message: "the watch of \(resource) received nothing for \(duration), not even a bookmark: the API "
                + "server or the network to it hangs")
    }

    /// The same problem for a watch that had begun.
    var ofBegunWatch: RequestProblem {
        var problem = self
        problem.failure.endedWatch = true
        return problem
    }

    private init(failure: ReflectorStep.Failure, message: String) {
        self.failure = failure
        self.message = message
    }

    /// Describes a response that cannot be read further.
    init(_ error: KubernetesDecodingError) {
        failure = ReflectorStep.Failure(kind: .malformed)
        message = "\(error)"
    }

    /// Describes a missing or incomplete response.
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

/// The response to a request so far.
struct KubernetesExchange {
    var head: HTTPHead?
    private var body: [UInt8] = []

    /// Keeps the beginning of a rejection's body; returns false when that is long enough.
    mutating func addToRefusal(_ chunk: UnsafeRawBufferPointer) -> Bool {
        body.append(contentsOf: chunk.prefix(64 << 10))
        return body.count < 64 << 10
    }

    /// Returns the rejection; nil if the response is none.
    func refusal(verb: String, _ resource: String) -> RequestProblem? {
        guard let head, head.status != 200 else { return nil }
        return RequestProblem(
            KubernetesStatus(code: head.status, body: body), retryAfter: head.retryAfter, verb: verb, resource)
    }
}
