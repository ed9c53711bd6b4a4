// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import Sockets

/// Responds to the requests of one connection in turn: the next request is read once the kernel has taken the response.
/// If one read brings several requests, only the first gets a response, the connection is closed, and the client
/// retries the others (RFC 9112, section 9.3.2).
final class ProbeConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let responder: ProbeResponder
    private let limits: ProbeLimits
    /// The request that is arriving.
    private var arriving: HTTPRequestHead?
    /// The request that has arrived in full.
    private var arrived: HTTPRequestHead?
    private var requests = 0
    private var isAnswering = false
    /// True when no further request is read from the peer.
    private var isLast = false
    private var deadline: Scheduled<Void>?

    init(_ responder: ProbeResponder, _ limits: ProbeLimits) {
        self.responder = responder
        self.limits = limits
    }

    func channelActive(context: ChannelHandlerContext) {
        awaitRequest(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isLast else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            guard !head.hasBody else { return refuse(.payloadTooLarge, "a request must not have a body\n", context) }
            arriving = head
        case .body: refuse(.payloadTooLarge, "a request must not have a body\n", context)
        case .end:
            // A further request in the same read is dropped, and the connection closed after the response.
            guard arrived == nil else { return isLast = true }
            arrived = arriving
            arriving = nil
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if let request = arrived, !isAnswering {
            arrived = nil
            answer(request, context)
        } else if !isAnswering && !isLast {
            context.read()
        }
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            isLast = true
            if !isAnswering && arrived == nil { context.close(promise: nil) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case HTTPParserError.headerOverflow:
            refuse(.requestHeaderFieldsTooLarge, "header fields are too large\n", context)
        case is HTTPParserError: refuse(.badRequest, "the request is not valid HTTP/1.1\n", context)
        default: context.close(promise: nil)
        }
    }

    // MARK: - Responses

    private func awaitRequest(_ context: ChannelHandlerContext) {
        setDeadline(limits.requestDeadline, context)
        context.read()
    }

    private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        requests += 1
        if requests == limits.requestsPerConnection || request.version != .http1_1 || !request.isKeepAlive {
            isLast = true
        }
        write(responder.answer(to: request, from: context.remoteAddress?.unmapped), to: request, context)
    }

    /// Rejects a request with an error response and closes the connection.
    private func refuse(_ status: HTTPResponseStatus, _ reason: String, _ context: ChannelHandlerContext) {
        guard !isLast else { return }
        isLast = true
        // A previous request still gets its response; the connection is closed after it, without one to this request.
        guard !isAnswering, arrived == nil else { return }
        write(ProbeAnswer(status, reason), to: HTTPRequestHead(version: .http1_1, method: .GET, uri: ""), context)
    }

    private func write(_ answer: ProbeAnswer, to request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        isAnswering = true
        setDeadline(limits.answerDeadline, context)
        var head = HTTPResponseHead(version: request.version, status: answer.status)
        head.headers.add(name: "Content-Type", value: answer.type)
        for (name, value) in answer.headers { head.headers.add(name: name, value: value) }
        head.headers.add(name: "Content-Length", value: "\(answer.body.readableBytes)")
        if isLast { head.headers.add(name: "Connection", value: "close") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(answer.body))), promise: nil) }
        let taken = context.eventLoop.makePromise(of: Void.self)
        let result = taken.futureResult.assumeIsolated()
        result.whenSuccess { self.answered(context) }
        result.whenFailure { _ in context.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: taken)
    }

    private func answered(_ context: ChannelHandlerContext) {
        isAnswering = false
        if isLast { context.close(promise: nil) } else { awaitRequest(context) }
    }

    private func setDeadline(_ time: TimeAmount, _ context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: time) { context.close(promise: nil) }
    }
}

extension HTTPRequestHead {
    /// True if the request declares a body. The two header fields can contradict each other about where the body ends
    /// and the next request begins (request smuggling).
    fileprivate var hasBody: Bool {
        headers.contains(name: "Transfer-Encoding") || headers["Content-Length"].contains { $0 != "0" }
    }
}
