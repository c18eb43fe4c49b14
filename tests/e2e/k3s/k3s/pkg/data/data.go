// Package data has what the wrapper unpacks.
package data

import (
	"embed"
	"fmt"
)

//go:embed embed/*
var files embed.FS

// Only gives name and content of the one file.
func Only() (string, []byte, error) {
	entries, err := files.ReadDir("embed")
	if err != nil || len(entries) != 1 {
		return "", nil, fmt.Errorf("there are %d data files: %v", len(entries), err)
	}
	content, err := files.ReadFile("embed/" + entries[0].Name())
	return entries[0].Name(), content, err
}
