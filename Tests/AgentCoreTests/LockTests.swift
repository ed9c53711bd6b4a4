// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// Several agent processes in one network namespace.
@Suite struct LockTests {
    private static let program = Repository.program("kubenetmon-agent").path

    /// Defines shell functions: `agent LOG WORKLOAD` starts an agent and sets `$!`; `says LOG TEXT` waits until its log
    /// contains a text; `ready LOG` waits until it collects. All agents are killed at the end.
    private static let prepare = """
        export LOG_FORMAT=text COLLECTION_INTERVAL=200ms
        logs=$(mktemp -d)
        background=
        trap 'kill -KILL $background 2>/dev/null || :; rm -rf "$logs"' EXIT
        agent() {
            NODE_NAME=node-a WORKLOAD_NAME=$2 \(program) --server-host 127.0.0.1 >"$logs/$1" 2>&1 &
            background="$background $!"
        }
        says() {
            for i in $(seq 3000); do
                grep -qs "$2" "$logs/$1" && return
                sleep 0.01
            done
            echo "$1 does not say $2:"; cat "$logs/$1"; exit 1
        }
        ready() { says "$1" 'serving /metrics'; }

        """

    private func run(_ script: String) async throws -> String {
        try await NetworkNamespace.run { try NetworkNamespace.shell(Self.prepare + script) }
    }

    @Test("an agent of another workload does not start, and names the lock, the holder's process and the remedy")
    func refusal() async throws {
        let output = try await run(
            """
            agent first a/b; first=$!
            ready first
            agent second c/d; second=$!
            code=0; wait $second || code=$?
            echo code $code
            grep -o 'another kubenetmon-agent holds.*' "$logs/second"
            grep -c "run one agent per node peer=process $second of user 0 workload=c/d" "$logs/first"
            curl -sf http://127.0.0.1:8883/live
            echo; echo "first is $first"
            kill -TERM $first; wait $first
            """)
        let lines = output.split(separator: "\n").map(String.init)
        #expect(lines.first == "code 1")
        let first = lines.last?.split(separator: " ").last ?? ""
        #expect(
            output.contains(
                "the abstract Unix socket @kubenetmon-agent: process \(first) of user 0, of the workload a/b"))
        #expect(output.contains("Stop the other agent, or do not start this one"))
        #expect(lines.dropFirst(2).first == "1" && output.contains("\"status\":\"live\""))
    }

    @Test("an agent of the same workload takes over; the first stands by, and collects again if the second is killed")
    func handoverAndBack() async throws {
        let output = try await run(
            """
            agent first a/b; first=$!
            ready first
            agent second a/b; second=$!
            ready second
            says first 'standing by'
            ss -xlp | grep -o '@kubenetmon-agent.*pid=[0-9]*' | grep -c "pid=$second"
            kill -KILL $second
            says first 'resuming collection'
            curl -sf --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8883/metrics | grep -c '^kubenetmon_agent_self_check{check="instance_lock"} 1'
            kill -TERM $first; wait $first; echo code $?
            """)
        #expect(output == "1\n1\ncode 0\n")
    }

    @Test("an agent that waits for the lock starts at once if the holder is killed")
    func killedHolder() async throws {
        let output = try await run(
            """
            agent first a/b; first=$!
            ready first
            agent second c/d; second=$!
            says first 'another agent waits'
            kill -KILL $first
            ready second
            grep -c 'instance_lock' "$logs/second" || :
            kill -TERM $second; wait $second; echo code $?
            """)
        #expect(output == "0\ncode 0\n")
    }

    @Test("SIGTERM ends an agent that is on standby, and one that waits for the lock")
    func signals() async throws {
        let output = try await run(
            """
            agent first a/b; first=$!
            ready first
            agent second a/b; second=$!
            ready second
            says first 'standing by'
            kill -TERM $first; wait $first; echo first $?
            agent third c/d; third=$!
            says second 'another agent waits'
            kill -TERM $third; wait $third; echo third $?
            kill -TERM $second; wait $second; echo second $?
            """)
        #expect(output == "first 0\nthird 0\nsecond 0\n")
    }

    @Test("agents in different network namespaces hold separate locks")
    func namespaces() async throws {
        let script = """
            agent first a/b; first=$!
            ready first
            [ "$(curl -s http://127.0.0.1:8883/metrics | grep -c '^kubenetmon_agent_self_check{check="instance_lock"} 1')" = 1 ]
            """
        async let outputs = (run(script), run(script))
        _ = try await outputs
    }

    @Test("--once and enable-accounting run beside an agent, without the lock")
    func noLock() async throws {
        let output = try await run(
            """
            agent first a/b
            ready first
            \(Self.program) --once --collection-interval 100ms >/dev/null 2>&1; echo once $?
            \(Self.program) enable-accounting >/dev/null; echo enable-accounting $?
            """)
        #expect(output == "once 0\nenable-accounting 0\n")
    }

    @Test("a process without CAP_NET_ADMIN cannot make an agent hand over, even as the same user")
    func withoutCapability() async throws {
        let output = try await run(
            """
            agent first a/b; first=$!
            ready first
            python3 -c '
            import array, ctypes, socket
            def ask(*make):
                peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                peer.connect("\\0kubenetmon-agent")
                message = b"kubenmon" + bytes([1, 1]) + bytes(6) + b"a/b".ljust(128, bytes(1))
                files = [one() for one in make]
                rights = array.array("i", [file.fileno() for file in files])
                peer.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if files else [])
                return len(peer.recv(1000))
            def netlink(family, groups=0):
                opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
                opened.bind((0, groups))
                return opened
            def elsewhere():
                assert ctypes.CDLL(None).unshare(0x40000000) == 0
                return netlink(12, 4)
            null = lambda: open("/dev/null")
            print(ask(), ask(null), ask(null, null), ask(lambda: netlink(12)), ask(lambda: netlink(0)), ask(elsewhere))
            '
            curl -sf -o /dev/null http://127.0.0.1:8883/live; echo live $?
            grep -c 'handing over' "$logs/first" || :
            """)
        #expect(output == "0 0 0 0 0 0\nlive 0\n0\n")
    }
}
