// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FlowModel
import Testing

import ServerCore

@Suite struct FlowQuestionTests {
    private func problem(_ query: String) -> String? {
        do throws(FlowQuestion.Problem) {
            _ = try FlowQuestion(query: query)
            return nil
        } catch {
            return error.description
        }
    }

    @Test("the flow to explain is read from the query") func aQuestionIsReadOutOfAQuery() throws {
        let asked = try FlowQuestion(
            query: "src=10.0.0.1:40000&dst=10.96.0.80:80&answered_by=10.0.0.2:8080&node=node-a&proto=udp&at=7")
        #expect(asked.node == "node-a" && asked.second == 7 && asked.flow.transport == .udp)
        #expect(asked.flow.original.source == IPAddress("10.0.0.1") && asked.flow.original.sourcePort == 40_000)
        #expect(asked.flow.original.destination == IPAddress("10.96.0.80") && asked.flow.original.destinationPort == 80)
        #expect(asked.flow.reply.source == IPAddress("10.0.0.2") && asked.flow.reply.sourcePort == 8080)
        let translated = try FlowQuestion(
            query: "src=10.0.0.1:40000&dst=192.0.2.1:80&replies_to=172.18.0.2:61000&node=node-a")
        #expect(translated.flow.reply.destination == IPAddress("172.18.0.2"))
        #expect(translated.flow.reply.destinationPort == 61_000)
        let plain = try FlowQuestion(query: "src=%5Bfd00::1%5D:1&dst=[fd00::2]:2&node=n")
        #expect(plain.flow.original.source == IPAddress("fd00::1") && !plain.flow.isTranslated)
        #expect(plain.second == nil && plain.flow.transport == .tcp)
    }

    @Test(
        "an invalid query is rejected with what is wrong",
        arguments: [
            ("", "src is missing"), ("src=10.0.0.1:1", "dst is missing"),
            ("src=10.0.0.1:1&dst=10.0.0.2:2", "node is missing"),
            ("src=10.0.0.1&dst=10.0.0.2:2&node=n", "src '10.0.0.1' is not an address and port, such as"),
            ("src=web:1&dst=10.0.0.2:2&node=n", "src 'web:1' is not an address and port, such as"),
            ("src=10.0.0.1:1&dst=10.0.0.2:65536&node=n", "dst '10.0.0.2:65536' is not an address and port"),
            (
                "src=10.0.0.1:1&dst=10.0.0.2:2&node=n&proto=ip",
                "proto 'ip' is not a number from 0 to 255 or one of dccp, gre, icmp, icmpv6, sctp, tcp, udp, udplite"
            ),
            ("src=10.0.0.1:1&dst=10.0.0.2:2&node=n&proto=256", "proto '256' is not a number from 0 to 255"),
            ("src=10.0.0.1:1&dst=10.0.0.2:2&node=n&proto=", "proto '' is not a number from 0 to 255"),
            ("src=10.0.0.1:1&dst=10.0.0.2:2&node=n&at=noon", "at 'noon' is not a number of seconds since 1970"),
            ("=", "unknown parameter ''"), ("&&=&", "unknown parameter ''"), ("src", "src is missing"),
            ("source=10.0.0.1:1", "unknown parameter 'source'; known are src, dst"),
        ])
    func aBadQuestionIsToldWhatIsWrong(query: String, expected: String) {
        #expect(problem(query)?.hasPrefix(expected) == true)
    }

    @Test("every protocol can be asked about by its name and its number")
    func protocols() throws {
        for number in UInt8.min ... .max {
            let transport = TransportProtocol(rawValue: number)
            for text in ["\(number)", "\(transport)", transport.description.uppercased()] {
                let asked = try FlowQuestion(query: "src=10.0.0.1:1&dst=10.0.0.2:2&node=n&proto=\(text)")
                #expect(asked.flow.transport == transport)
            }
        }
    }

    @Test("the options of explain ask the question that they state")
    func command() throws {
        let plain = ["--src", "10.0.0.1:40000", "--dst", "[fd00::2]:80", "--node", "node-a"]
        let question = { try FlowQuestion(query: try ExplainCommand.parse(plain + $0).query) }
        #expect(try question([]) == FlowQuestion(query: "src=10.0.0.1:40000&dst=[fd00::2]:80&node=node-a&proto=tcp"))
        #expect(
            try question([
                "--proto", "gre", "--answered-by", "10.0.0.2:8080", "--replies-to", "10.0.0.3:1", "--at", "7",
            ])
                == FlowQuestion(
                    query: """
                        src=10.0.0.1:40000&dst=[fd00::2]:80&node=node-a&proto=47&answered_by=10.0.0.2:8080&\
                        replies_to=10.0.0.3:1&at=7
                        """))
        #expect(ExplainCommand.helpMessage().contains("udplite"))
    }
}
