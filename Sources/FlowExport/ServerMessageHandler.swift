// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore

/// Passes the server's messages to the exporter.
final class ServerMessageHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let exporter: FlowExporter

    init(exporter: FlowExporter) { self.exporter = exporter }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            exporter.received(try ServerMessage(decoding: unwrapInboundIn(data)))
        } catch {
            errorCaught(context: context, error: error)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        exporter.sendHostAddresses()
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        exporter.failed(error)
        context.close(promise: nil)
    }
}
