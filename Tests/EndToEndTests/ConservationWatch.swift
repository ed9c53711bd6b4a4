// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Scrapes daemons repeatedly, and checks that every flow and byte received is accounted for.
enum ConservationWatch {
    /// The pause between two scrapes, which leaves the daemons time for their work.
    private static let pause = Duration.milliseconds(50)

    /// Scrapes while `body` runs; each page must satisfy its equations. Returns the number of pages checked.
    static func run<Result>(
        agents: [String], servers: [ServerUnderTest], in lab: Lab, _ body: () async throws -> Result
    ) async throws -> (Result, scrapes: Int) {
        try await withThrowingTaskGroup(of: Int.self) { group in
            for node in agents {
                // An agent that has just ended does not respond.
                group.addTask { await scrape(agent) { try? await lab.page(of: node) } }
            }
            for server in servers {
                group.addTask { await scrape(Self.server) { try? await server.probe("/metrics").body } }
            }
            let result = try await body()
            group.cancelAll()
            return (result, scrapes: try await group.reduce(0, +))
        }
    }

    /// Checks pages until it is cancelled, and returns their number.
    private static func scrape(_ equations: [Equation], _ page: () async -> String?) async -> Int {
        var count = 0
        while !Task.isCancelled {
            // A page that was cut off proves nothing.
            if let page = await page(), !Task.isCancelled, !page.isEmpty {
                check(page, equations)
                count += 1
            }
            try? await Task.sleep(for: pause)
        }
        return count
    }

    /// An equation that a page must satisfy: the sum of the first metrics equals that of the others.
    typealias Equation = (whole: [String], parts: [String])

    static let agent: [Equation] = [
        (
            ["kubenetmon_agent_collected_flows_total", "kubenetmon_agent_restored_flows_total"],
            [
                "kubenetmon_agent_acknowledged_flows_total", "kubenetmon_agent_unacknowledged_flows",
                "kubenetmon_agent_merged_flows_total",
            ]
        ),
        (
            ["kubenetmon_agent_collected_bytes_total", "kubenetmon_agent_restored_bytes_total"],
            ["kubenetmon_agent_acknowledged_bytes_total", "kubenetmon_agent_unacknowledged_bytes"]
        ),
    ]

    static let server: [Equation] = ["flows", "bytes"].map { unit in
        (
            ["kubenetmon_server_received_\(unit)_total"],
            [
                "kubenetmon_server_ignored_\(unit)_total", "kubenetmon_server_dropped_\(unit)_total",
                "kubenetmon_server_withdrawn_\(unit)_total", "kubenetmon_server_pending_\(unit)",
                "kubenetmon_worker_inserted_\(unit)_total", "kubenetmon_worker_lost_\(unit)_total",
            ]
        )
    }

    private static func check(_ page: String, _ equations: [Equation]) {
        let text = MetricsText(page)
        #expect(text.problems == [])
        for equation in equations {
            let whole = equation.whole.map { text.sum(of: $0) }
            let parts = equation.parts.map { text.sum(of: $0) }
            #expect(whole.reduce(0, +) == parts.reduce(0, +), "\(equation) \(whole) \(parts)")
        }
    }
}
