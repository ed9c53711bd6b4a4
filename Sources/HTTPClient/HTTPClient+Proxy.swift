// SPDX-License-Identifier: Apache-2.0

extension HTTPClient.Proxy {
    /// Reads `none`, `environment` or a proxy's `http://` or `https://` URL.
    public init?(_ text: String) {
        switch text {
        case "none": self = .none
        case "environment": self = .environment
        default:
            let schemes = ["http://", "https://"]
            guard let scheme = schemes.first(where: text.hasPrefix), text.count > scheme.count else { return nil }
            self = .url(text)
        }
    }

    /// The name of the environment variable whose proxy libcurl would take for a URL; nil where there is none.
    public static func variable(for url: String, in environment: [String: String]) -> String? {
        // A server takes HTTP_PROXY from its clients' `Proxy:` field (https://httpoxy.org), so libcurl leaves it alone.
        let ofScheme = url.hasPrefix("https://") ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy"]
        return (ofScheme + ["all_proxy", "ALL_PROXY"]).first { environment[$0]?.isEmpty == false }
    }
}

extension HTTPClient.Proxy: CustomStringConvertible {
    /// What ``init(_:)`` reads.
    public var description: String {
        switch self {
        case .none: "none"
        case .environment: "environment"
        case .url(let url): url
        }
    }
}
