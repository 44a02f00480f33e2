package keptport

import (
	"net"

	"golang.org/x/sys/unix"
)

// silent says that the peer of a TCP connection has not sent anything.
func silent(c net.Conn) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var info *unix.TCPInfo
	var infoErr error
	err = raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return err == nil && infoErr == nil && info.Bytes_received == 0
}
