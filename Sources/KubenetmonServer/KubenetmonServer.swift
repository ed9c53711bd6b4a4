// SPDX-License-Identifier: Apache-2.0

import ServerCore

@main
struct KubenetmonServer {
    static func main() async { await ServerCommand.main() }
}
