// SPDX-License-Identifier: Apache-2.0

import Glibc
import ServiceLifecycle
import UnixSignals

/// Ends the process at once when a second SIGTERM or SIGINT arrives while the daemon shuts down.
struct SecondSignalService: Service, CustomStringConvertible {
    let description = "second-signal"

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        await cancelWhenGracefulShutdown {
            var count = 0
            for await _ in signals {
                count += 1
                // 128 plus the number of SIGTERM, as shells report it.
                if count == 2 { _exit(143) }
            }
        }
    }
}
