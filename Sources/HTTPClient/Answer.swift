// SPDX-License-Identifier: Apache-2.0

/// Passes a response from libcurl's callbacks to the consumer: the complete head first, then the body.
final class Answer {
    private let followsRedirects: Bool
    private let onHead: (HTTPHead) -> Bool
    private let onBody: (UnsafeRawBufferPointer) -> Bool
    private var status = 0
    private var headers: [String: String] = [:]
    /// Whether the head has been passed on.
    private(set) var hasBegun = false
    /// Whether the consumer stopped the transfer.
    private(set) var isStopped = false

    init(
        followsRedirects: Bool, onHead: @escaping (HTTPHead) -> Bool,
        onBody: @escaping (UnsafeRawBufferPointer) -> Bool
    ) {
        self.followsRedirects = followsRedirects
        self.onHead = onHead
        self.onBody = onBody
    }

    /// Passes data that libcurl read to `take`; returns the number of bytes taken. Any other number than `count` makes
    /// libcurl end the transfer.
    static func take(
        _ data: UnsafeMutablePointer<CChar>?, _ count: Int, _ context: UnsafeMutableRawPointer?,
        _ take: (Answer, UnsafeRawBufferPointer) -> Bool
    ) -> Int {
        guard let context else { return 0 }
        let answer = Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
        guard !answer.isStopped, take(answer, UnsafeRawBufferPointer(start: data, count: count)) else {
            answer.isStopped = true
            // Must differ from `count` to end the transfer: 0 would accept an empty chunk.
            return count == 0 ? 1 : 0
        }
        return count
    }

    func body(_ chunk: UnsafeRawBufferPointer) -> Bool { onBody(chunk) }

    func headerLine(_ data: UnsafeRawBufferPointer) -> Bool {
        // Trailer fields of a chunked body are ignored.
        guard !hasBegun else { return true }
        let line = String(decoding: data, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            // A status line begins a new header section, also after an interim response or a redirect.
            headers = [:]
            status = line.split(separator: " ").dropFirst().first.flatMap { Int($0.prefix { $0.isNumber }) } ?? 0
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            headers[line[..<colon].lowercased()] = String(value.prefix { $0 != "\r\n" && $0 != "\r" && $0 != "\n" })
        } else if line.allSatisfy({ $0.isNewline }), !isInterim {
            hasBegun = true
            return onHead(HTTPHead(status: status, headers: headers))
        }
        return true
    }

    /// Whether another header section follows this one.
    private var isInterim: Bool {
        status < 200 || followsRedirects && 300..<400 ~= status && headers["location"] != nil
    }
}
