// SPDX-License-Identifier: Apache-2.0

extension HTTPClient.Proxy {
    /// Parses `none`, `environment` or a proxy's `http://` or `https://` URL.
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

    /// Returns the name of the environment variable from which libcurl would take the proxy for a URL; nil if there is
    /// none.
    public static func variable(for url: String, in environment: [String: String]) -> String? {
        // libcurl ignores HTTP_PROXY, because in a CGI program a client sets it with its `Proxy:` field
        // (https://httpoxy.org).
        let ofScheme = url.hasPrefix("https://") ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy"]
        return (ofScheme + ["all_proxy", "ALL_PROXY"]).first { environment[$0]?.isEmpty == false }
    }
}

extension HTTPClient.Proxy: CustomStringConvertible {
    /// The proxy in the syntax of ``init(_:)``.
    public var description: String {
        switch self {
        case .none: "none"
        case .environment: "environment"
        case .url(let url): url
        }
    }
}
