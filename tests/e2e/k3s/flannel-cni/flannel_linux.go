// What is Linux' own.

package main

import (
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
)

func add(arguments *skel.CmdArgs) error {
	return fmt.Errorf("the stand-in adds nothing to %s", arguments.Netns)
}
