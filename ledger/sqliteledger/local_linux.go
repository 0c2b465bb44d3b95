package sqliteledger

import (
	"fmt"
	"syscall"
)

// remote are the file systems of networks, by the numbers of statfs(2). FUSE is not among them: it may be either.
var remote = map[uint32]string{
	0x6969: "NFS", 0x517b: "SMB", 0xfe534d42: "SMB2", 0xff534d42: "CIFS", 0x564c: "NCP", 0x5346414f: "AFS", 0x6b414653: "AFS",
	0x73757245: "Coda", 0x01021997: "9P", 0x00c36400: "Ceph", 0x0bd00bd0: "Lustre", 0x47504653: "GPFS", 0x01161970: "GFS2",
	0x7461636f: "OCFS2", 0x19830326: "BeeGFS", 0x786f4256: "VirtualBox shared folders",
}

// local reports that dir is on a network file system, whose locks and shared memory do not hold between machines.
func local(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return localType(dir, uint32(s.Type))
}

func localType(dir string, number uint32) error {
	if name := remote[number]; name != "" {
		return fmt.Errorf("%s is on %s, a network file system, where two machines could each spend the whole limit; use a local disk, or a ledger that is shared over the network", dir, name)
	}
	return nil
}
