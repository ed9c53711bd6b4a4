// SPDX-License-Identifier: Apache-2.0

import Glibc
import ServiceLifecycle
import UnixSignals

/// While the daemon shuts down, a second SIGTERM or SIGINT ends it at once.
struct SecondSignalService: Service, CustomStringConvertible {
    let description = "second-signal"

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        await cancelWhenGracefulShutdown {
            var count = 0
            for await _ in signals {
                count += 1
                // 128 and the number of SIGTERM, as a shell would report it.
                if count == 2 { _exit(143) }
            }
        }
    }
}
