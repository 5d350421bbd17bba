// The client of Phoenix' authors: floods of messages, or many idle channels.
// Arguments: URL, "messages" or "idle", how many, for how many seconds, seconds between heartbeats.
import WebSocket from "ws"
import {Socket} from "phoenix"

const [url, what, count, seconds, heartbeat] = process.argv.slice(2)
const PER_SOCKET = 50

const cpu = () => {
  const used = process.cpuUsage()
  return (used.user + used.system) / 1e6
}
const connect = () => {
  const socket = new Socket(url, {
    transport: WebSocket, params: {token: "t"}, heartbeatIntervalMs: heartbeat * 1000, timeout: 30000,
  })
  socket.connect()
  return socket
}
const join = (socket, topic) => new Promise((resolve, reject) => {
  const channel = socket.channel(topic, {})
  channel.join().receive("ok", () => resolve(channel)).receive("error", reject)
})

if (what === "messages") {
  const channel = await join(connect(), "call:1")
  let left = 0, done = () => {}
  channel.on("customer_joined", () => { if (--left === 0) done() })
  let result
  for (const number of [1000, Number(count)]) {
    const began = performance.now(), spent = cpu()
    await new Promise((resolve) => {
      left = number
      done = resolve
      channel.push("signal", {flood: number})
    })
    result = {seconds: (performance.now() - began) / 1000, cpu: cpu() - spent}
  }
  console.log(JSON.stringify({result}))
} else {
  const sockets = Array.from({length: Math.ceil(count / PER_SOCKET)}, connect)
  const topics = Array.from({length: Number(count)}, (_, number) => number)
  await Promise.all(topics.map((n) => join(sockets[Math.floor(n / PER_SOCKET)], `call:${n}`)))
  const spent = cpu()
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  const rss = Math.round(process.resourceUsage().maxRSS)
  console.log(JSON.stringify({result: {cpu: cpu() - spent, seconds: Number(seconds), rss_kb: rss}}))
}
process.exit(0)
