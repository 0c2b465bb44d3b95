package sqliteledger

import (
	"strings"
	"testing"
)

// The numbers are those of statfs(2) and of linux/magic.h.
func TestNetworkFileSystemsAreRefused(t *testing.T) {
	for number, name := range map[uint32]string{0x6969: "NFS", 0xfe534d42: "SMB2", 0xff534d42: "CIFS", 0x01021997: "9P", 0x00c36400: "Ceph"} {
		if err := localType("/mnt/books", number); err == nil || !strings.Contains(err.Error(), "/mnt/books is on "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for number, name := range map[uint32]string{0xef53: "ext4", 0x58465342: "XFS", 0x9123683e: "Btrfs", 0x794c7630: "overlayfs", 0x01021994: "tmpfs", 0x2fc12fc1: "ZFS"} {
		if err := localType("/var/lib/books", number); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := local(t.TempDir()); err != nil {
		t.Error(err)
	}
}
