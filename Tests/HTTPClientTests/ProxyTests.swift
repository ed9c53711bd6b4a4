// SPDX-License-Identifier: Apache-2.0

import Glibc
import HTTPClient
import TestSupport
import Testing

@Suite struct ProxyTests {
    /// The environment is the process's, so it is another process that changes it.
    @Test func theEnvironmentsProxyIsHeededWhereItIsAskedForAlone() async {
        await #expect(processExitsWith: .success) {
            let server = try RawHTTPServer { _, _ in .status(200, "server") }
            let proxy = try RawHTTPServer { _, _ in .status(200, "proxy") }
            setenv("http_proxy", proxy.url, 1)
            unsetenv("no_proxy")
            unsetenv("NO_PROXY")
            let url = server.url
            for (setting, answer) in [(HTTPClient.Proxy.none, "server"), (.environment, "proxy")] {
                let text = try await onThread {
                    try HTTPClient(proxy: setting).perform(
                        HTTPRequest(.get, url: url, timeoutMilliseconds: 300_000, connectTimeoutMilliseconds: 300_000)
                    ).text
                }
                #expect(text == answer)
            }
            #expect(proxy.requests.first?.target == "\(url)/")
        }
    }
}
