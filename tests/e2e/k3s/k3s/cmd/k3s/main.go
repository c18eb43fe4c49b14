// The stand-in's wrapper: unpacks the data that it embeds, checks it, and runs a program of it. No cgo.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/k3s-io/k3s/pkg/data"
	"github.com/k3s-io/k3s/pkg/version"
	"github.com/klauspost/compress/zstd"
)

// external are the programs that stand for themselves; any other command is one of the server.
var external = map[string]bool{"kubectl": true, "crictl": true, "ctr": true, "check-config": true}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Printf("k3s version %s (%s)\ngo version %s\n", version.Version, version.GitCommit, runtime.Version())
		return
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: k3s COMMAND")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, run(os.Args[1], os.Args[1:]))
	os.Exit(1)
}

func run(command string, args []string) error {
	dir, err := extract(filepath.Join(os.Getenv("HOME"), ".rancher", "k3s", "data"))
	if err != nil {
		return err
	}
	os.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH")+":"+filepath.Join(dir, "bin", "aux"))
	os.Setenv("K3S_DATA_DIR", dir)
	if !external[command] {
		command = "k3s-" + command
	}
	program, err := exec.LookPath(command)
	if err != nil {
		return err
	}
	return syscall.Exec(program, append([]string{command}, args[1:]...), os.Environ())
}

func extract(folder string) (string, error) {
	name, content, err := data.Only()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(folder, strings.SplitN(name, ".", 2)[0])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if fmt.Sprintf("%x.tar.zst", sha256.Sum256(content)) != name {
		return "", errors.New("the data is not what its name says")
	}
	temporary := dir + "-tmp"
	if err := errors.Join(os.RemoveAll(temporary), untar(content, temporary), verify(filepath.Join(temporary, "bin"))); err != nil {
		return "", err
	}
	return dir, os.Rename(temporary, dir)
}

func untar(content []byte, dir string) error {
	plain, err := zstd.NewReader(bytes.NewReader(content), zstd.WithDecoderMaxMemory(1<<25))
	if err != nil {
		return err
	}
	defer plain.Close()
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, path)
		default:
			err = write(path, header.FileInfo().Mode(), archive)
		}
		if err != nil {
			return err
		}
	}
}

func write(path string, mode os.FileMode, content io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// verify compares the files with .sha256sums and the links with .links, and wants entries in both.
func verify(bin string) error {
	sums, err := pairs(filepath.Join(bin, ".sha256sums"))
	if err != nil {
		return err
	}
	for _, pair := range sums {
		content, err := os.ReadFile(filepath.Join(bin, pair[1]))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(content)) != pair[0] {
			return fmt.Errorf("%s is not what .sha256sums says: %v", pair[1], err)
		}
	}
	links, err := pairs(filepath.Join(bin, ".links"))
	if err != nil {
		return err
	}
	for _, pair := range links {
		target, err := os.Readlink(filepath.Join(bin, pair[0]))
		if err != nil || target != pair[1] {
			return fmt.Errorf("%s is not what .links says: %v", pair[0], err)
		}
	}
	if len(sums) == 0 || len(links) == 0 {
		return errors.New("nothing to verify")
	}
	return nil
}

func pairs(path string) ([][]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found [][]string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 2 {
			return nil, fmt.Errorf("%s: %q", path, lines.Text())
		}
		found = append(found, fields)
	}
	return found, lines.Err()
}
