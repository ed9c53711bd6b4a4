// SPDX-License-Identifier: Apache-2.0

import KubernetesAPI
import NIOCore
import NIOHTTP1

/// An event that makes a ``FixtureConnection`` stop reading and sending, as if its server had disappeared without
/// closing it.
struct Freeze: Sendable {}

/// A connection to an ``APIServerFixture``, which answers one request at a time.
final class FixtureConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// An open watch.
    private struct Watch {
        let number: Int
        let resource: String
        let encoding: FixtureCluster.Encoding
        var version: Int
        var isCaughtUp: Bool
    }

    private weak let server: APIServerFixture?
    private var context: ChannelHandlerContext?
    private var watch: Watch?
    private var timers: [Scheduled<Void>] = []
    private var bookmarks: RepeatedTask?
    private var requestHead: HTTPRequestHead?
    private var requestBody: [UInt8] = []
    private var isBytewise = false
    /// Whether reading and sending have stopped.
    private var isFrozen = false
    /// Bytes of the body that may still be sent before the connection is closed or frozen.
    private var bytesLeft: Int?
    private var freezesAtEnd = false

    init(server: APIServerFixture) { self.server = server }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelInactive(context: ChannelHandlerContext) { endWatch() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is Freeze else { return context.fireUserInboundEventTriggered(event) }
        isFrozen = true
        endWatch()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isFrozen else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            requestBody = []
            requestHead = head
            // A request with a body is answered at the end of the body.
            if head.method == .GET { answer(head) }
        case .body(let bytes): requestBody += bytes.readableBytesView
        case .end:
            if let requestHead, requestHead.method != .GET { answer(requestHead) }
            requestHead = nil
        }
    }

    private func answer(_ head: HTTPRequestHead) {
        guard let server else { return }
        let token = head.headers["authorization"].first.flatMap {
            $0.hasPrefix("Bearer ") ? String($0.dropFirst(7)) : nil
        }
        let request = FixtureRequest(
            uri: head.uri, isPost: head.method == .POST, token: token, accept: head.headers["accept"].first,
            userAgent: head.headers["user-agent"].first)
        isBytewise = false
        bytesLeft = nil
        let fault = server.note(request)
        let options = server.options
        if let tokens = options.tokens, !tokens.contains(token ?? "") {
            return refuse(KubernetesStatus(code: 401, reason: "Unauthorized", message: "Unauthorized"))
        }
        let encoding = FixtureCluster.encodings[request.resource]
        guard encoding != nil || (request.kind == .tokenReview && request.resource == "tokenreviews") else {
            return refuse(KubernetesStatus(code: 404, reason: "NotFound", message: "404 page not found"))
        }
        switch fault {
        case .status(let status): return refuse(status)
        case .errorEvent(let status):
            begin()
            send(ObjectEncoder.error(status))
            return end()
        case .bytes(let bytes):
            begin()
            send(bytes)
            return end()
        case .nothing:
            begin()
            return end()
        case .silence: return
        case .cut(let count): (bytesLeft, freezesAtEnd) = (count, false)
        case .freeze(let count): (bytesLeft, freezesAtEnd) = (count, true)
        case .bytewise: isBytewise = true
        case .ignoresInitialEvents, nil: break
        }
        guard let encoding else { return answer(tokenReview: requestBody, server) }
        switch request.kind {
        case .tokenReview: break
        case .list, .page, .version: answer(list: request, encoding, server)
        case .watch: answer(watch: request, encoding, server, options)
        case .streamingList:
            guard options.streamsLists else {
                return refuse(
                    KubernetesStatus(
                        code: 422, reason: "Invalid",
                        message: "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: "
                            + "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"))
            }
            var endsInitialEvents = true
            if case .ignoresInitialEvents = fault { endsInitialEvents = false }
            answer(streamingList: request, encoding, server, options, endsInitialEvents: endsInitialEvents)
        }
    }

    // MARK: - Tokens

    private func answer(tokenReview body: [UInt8], _ server: APIServerFixture) {
        guard let answer = server.review(body) else {
            return refuse(KubernetesStatus(code: 400, reason: "BadRequest", message: "the object is no TokenReview"))
        }
        let headers: HTTPHeaders = ["Content-Type": "application/json", "Content-Length": "\(answer.count)"]
        write(.head(HTTPResponseHead(version: .http1_1, status: .created, headers: headers)))
        send(answer)
        end()
    }

    // MARK: - Lists

    private func answer(list request: FixtureRequest, _ encoding: FixtureCluster.Encoding, _ server: APIServerFixture) {
        let version = request.parameters["resourceVersion"] ?? ""
        if let asked = Int(version), asked > server.version {
            return refuse(
                KubernetesStatus(
                    code: 504, reason: "Timeout",
                    message: "Too large resource version: \(asked), current: \(server.version)", retryAfterSeconds: 1))
        }
        // From its memory a server returns all objects, whatever the limit.
        let limit = version == "0" ? nil : request.parameters["limit"].flatMap { Int($0) }
        let page = server.withCluster {
            $0.page(of: request.resource, limit: limit, token: request.parameters["continue"])
        }
        guard let page else {
            return refuse(
                KubernetesStatus(
                    code: 410, reason: "Expired", message: "The provided continue parameter is too old"))
        }
        begin()
        var messages = FixtureList.chunks(page, encoding)
        send(all: { messages.next() }) { $0.end() }
    }

    // MARK: - Watches

    private func answer(
        watch request: FixtureRequest, _ encoding: FixtureCluster.Encoding, _ server: APIServerFixture,
        _ options: APIServerFixture.Options
    ) {
        let version = Int(request.parameters["resourceVersion"] ?? "") ?? 0
        guard server.withCluster({ $0.frames(of: request.resource, after: version) }) != nil else {
            guard options.expiresWithStatus else {
                begin()
                send(ObjectEncoder.error(Self.expired))
                return end()
            }
            return refuse(Self.expired)
        }
        begin()
        open(Watch(number: 0, resource: request.resource, encoding: encoding, version: version, isCaughtUp: true))
        limit(request, options)
        pump()
    }

    private func answer(
        streamingList request: FixtureRequest, _ encoding: FixtureCluster.Encoding, _ server: APIServerFixture,
        _ options: APIServerFixture.Options, endsInitialEvents: Bool
    ) {
        let (messages, version) = server.withCluster { ($0.messages(of: request.resource), $0.version) }
        begin()
        open(Watch(number: 0, resource: request.resource, encoding: encoding, version: version, isCaughtUp: false))
        limit(request, options)
        var rest = messages[...]
        send(all: {
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(64) }
            return rest.prefix(64).reduce(into: []) { $0 += encoding.event("ADDED", $1) }
        }) { connection in
            if endsInitialEvents { connection.send(encoding.bookmark("\(version)", true)) }
            connection.watch?.isCaughtUp = true
            connection.pump()
        }
    }

    private static let expired = KubernetesStatus(
        code: 410, reason: "Expired", message: "The resourceVersion for the provided watch is too old.")

    private func open(_ watch: Watch) {
        guard let context, let server else { return }
        let this = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        let number = server.addWatch { eventLoop.execute { this.value.pump() } }
        self.watch = Watch(
            number: number, resource: watch.resource, encoding: watch.encoding, version: watch.version,
            isCaughtUp: watch.isCaughtUp)
    }

    /// Ends the watch after its requested duration, and sends bookmarks until then.
    private func limit(_ request: FixtureRequest, _ options: APIServerFixture.Options) {
        guard let context else { return }
        let this = NIOLoopBound(self, eventLoop: context.eventLoop)
        if let seconds = request.parameters["timeoutSeconds"].flatMap({ Int64($0) }) {
            timers.append(
                context.eventLoop.scheduleTask(in: .seconds(seconds)) {
                    guard this.value.watch != nil else { return }
                    this.value.end()
                })
        }
        guard request.parameters["allowWatchBookmarks"] == "true" else { return }
        let interval = TimeAmount.milliseconds(options.bookmarkMilliseconds)
        bookmarks = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            this.value.sendBookmark()
        }
    }

    private func sendBookmark() {
        pump()
        guard let watch, watch.isCaughtUp, let server, watch.version <= server.version else { return }
        send(watch.encoding.bookmark("\(watch.version)", false))
    }

    /// Sends the changes since the last call.
    private func pump() {
        guard let watch, watch.isCaughtUp, let server else { return }
        guard let (frames, version) = server.withCluster({ $0.frames(of: watch.resource, after: watch.version) }) else {
            send(ObjectEncoder.error(Self.expired))
            return end()
        }
        self.watch?.version = version
        if !frames.isEmpty { send(frames.reduce(into: []) { $0 += $1 }) }
    }

    private func endWatch() {
        if let watch { server?.removeWatch(watch.number) }
        watch = nil
        bookmarks?.cancel()
        for timer in timers { timer.cancel() }
        timers = []
    }

    // MARK: - Responses

    private func refuse(_ status: KubernetesStatus) {
        let body = ObjectEncoder.status(status)
        var headers: HTTPHeaders = [
            "Content-Type": "application/vnd.kubernetes.protobuf", "Content-Length": "\(body.count)",
        ]
        if let seconds = status.retryAfterSeconds { headers.add(name: "Retry-After", value: "\(seconds)") }
        write(.head(HTTPResponseHead(version: .http1_1, status: .init(statusCode: status.code), headers: headers)))
        send(body)
        end()
    }

    private func begin() {
        let headers: HTTPHeaders = ["Content-Type": "application/vnd.kubernetes.protobuf"]
        write(.head(HTTPResponseHead(version: .http1_1, status: .ok, headers: headers)))
        context?.flush()
    }

    private func end() {
        endWatch()
        write(.end(nil))
        context?.flush()
    }

    private func send(_ bytes: [UInt8], promise: EventLoopPromise<Void>? = nil) {
        guard let context, !isFrozen else { return }
        let bytes = bytesLeft.map { Array(bytes.prefix($0)) } ?? bytes
        let parts = isBytewise ? bytes.map { [$0] } : [bytes]
        for (index, part) in parts.enumerated() {
            let body = HTTPServerResponsePart.body(.byteBuffer(context.channel.allocator.buffer(bytes: part)))
            context.write(wrapOutboundOut(body), promise: index == parts.count - 1 ? promise : nil)
        }
        context.flush()
        guard let left = bytesLeft else { return }
        bytesLeft = left - bytes.count
        if left == bytes.count { cut() }
    }

    private func cut() {
        endWatch()
        isFrozen = freezesAtEnd
        guard !isFrozen else { return }
        context?.close(promise: nil)
    }

    /// Sends chunks with backpressure.
    private func send(all next: @escaping () -> [UInt8]?, then: @escaping (FixtureConnection) -> Void) {
        guard let context, context.channel.isActive else { return }
        guard let chunk = next() else { return then(self) }
        let sent = context.eventLoop.makePromise(of: Void.self)
        let eventLoop = context.eventLoop.assumeIsolated()
        sent.futureResult.assumeIsolated().whenSuccess {
            eventLoop.execute { self.send(all: next, then: then) }
        }
        send(chunk, promise: sent)
    }

    private func write(_ part: HTTPServerResponsePart) {
        guard !isFrozen else { return }
        context?.write(wrapOutboundOut(part), promise: nil)
    }
}
