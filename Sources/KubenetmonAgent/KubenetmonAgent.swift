// SPDX-License-Identifier: Apache-2.0

import AgentCore

@main
struct KubenetmonAgent {
    static func main() async { await AgentCommand.main() }
}
