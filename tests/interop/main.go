// Command interop checks a ledger's keys, checkpoints, proofs, receipts and exports with the code of
// the Go checksum database and nothing of SyTFF Policy's.
//
//	interop receipt KEY FILE       every entry of a receipt is in the log that KEY signed
//	interop export KEY FILE        the lines of an export are the tree that KEY signed at its end
//	interop batch < CASES          one JSON case a line, as below; prints ok or the reason a line
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
}

type entry struct {
	Leaf  json.RawMessage `json:"leaf"`
	Proof []string        `json:"proof"`
}

type receipt struct {
	Checkpoint string  `json:"checkpoint"`
	Entries    []entry `json:"entries"`
}

type testCase struct {
	Op    string   `json:"op"` // note, record or tree
	Key   string   `json:"key"`
	Note  string   `json:"note"`
	Old   string   `json:"old"`
	Index int64    `json:"index"`
	Leaf  string   `json:"leaf"`
	Proof []string `json:"proof"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "batch":
		return batch(os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "receipt":
		return checkReceipt(args[1], args[2])
	case len(args) == 3 && args[0] == "export":
		return checkExport(args[1], args[2])
	}
	return errors.New("usage: interop receipt KEY FILE | export KEY FILE | batch")
}

// open verifies a checkpoint's signature and reads it.
func open(key, signed string) (*checkpoint, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, err
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" {
		return nil, errors.New("not a checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return nil, errors.New("not a checkpoint's size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return nil, err
	}
	if lines[0] != verifier.Name() {
		return nil, errors.New("a checkpoint of another log")
	}
	return &checkpoint{lines[0], size, root}, nil
}

func hashes(texts []string) ([]tlog.Hash, error) {
	made := make([]tlog.Hash, 0, len(texts))
	for _, text := range texts {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, fmt.Errorf("%q is not a hash", text)
		}
		made = append(made, tlog.Hash(raw))
	}
	return made, nil
}

func checkRecord(top *checkpoint, index int64, leaf []byte, proof []string) error {
	path, err := hashes(proof)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, top.size, top.root, index, tlog.RecordHash(leaf))
}

func checkReceipt(key, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var made receipt
	if err := json.Unmarshal(content, &made); err != nil {
		return err
	}
	top, err := open(key, made.Checkpoint)
	if err != nil {
		return err
	}
	for _, item := range made.Entries {
		var place struct {
			Seq int64 `json:"seq"`
		}
		if err := json.Unmarshal(item.Leaf, &place); err != nil {
			return err
		}
		if err := checkRecord(top, place.Seq, item.Leaf, item.Proof); err != nil {
			return fmt.Errorf("entry %d: %w", place.Seq, err)
		}
	}
	if len(made.Entries) == 0 {
		return errors.New("it proves no entry")
	}
	fmt.Printf("%d entries are in the log of %d that %s signed\n", len(made.Entries), top.size, top.origin)
	return nil
}

// stored is the tree in memory, as tlog wants it.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	made := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at >= int64(len(s)) {
			return nil, errors.New("no such hash")
		}
		made[i] = s[at]
	}
	return made, nil
}

func checkExport(key, file string) error {
	stream, err := os.Open(file)
	if err != nil {
		return err
	}
	defer stream.Close()
	var tree stored
	var count int64
	reader := bufio.NewReader(stream)
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			return errors.New("the export ends without a checkpoint")
		}
		if err != nil {
			return err
		}
		var item struct {
			Leaf       json.RawMessage `json:"leaf"`
			Checkpoint string          `json:"checkpoint"`
		}
		if err := json.Unmarshal(bytes.TrimSuffix(line, []byte("\n")), &item); err != nil {
			return fmt.Errorf("line %d: %w", count, err)
		}
		if item.Checkpoint != "" {
			return checkEnd(key, item.Checkpoint, tree, count)
		}
		more, err := tlog.StoredHashesForRecordHash(count, tlog.RecordHash(item.Leaf), tree)
		if err != nil {
			return err
		}
		tree = append(tree, more...)
		count++
	}
}

func checkEnd(key, signed string, tree stored, count int64) error {
	top, err := open(key, signed)
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(count, tree)
	if err != nil {
		return err
	}
	if top.size != count || top.root != root {
		return fmt.Errorf("the %d lines are not the %d entries that %s signed", count, top.size, top.origin)
	}
	fmt.Printf("%d entries are the log that %s signed\n", count, top.origin)
	return nil
}

func batch(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	for {
		var item testCase
		if err := decoder.Decode(&item); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer := "ok"
		if err := check(item); err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(out, strings.ReplaceAll(answer, "\n", " "))
	}
}

func check(item testCase) error {
	top, err := open(item.Key, item.Note)
	if err != nil {
		return err
	}
	switch item.Op {
	case "note":
		return nil
	case "record":
		return checkRecord(top, item.Index, []byte(item.Leaf), item.Proof)
	case "tree":
		old, err := open(item.Key, item.Old)
		if err != nil {
			return err
		}
		path, err := hashes(item.Proof)
		if err != nil {
			return err
		}
		return tlog.CheckTree(path, top.size, top.root, old.size, old.root)
	}
	return fmt.Errorf("unknown op %q", item.Op)
}
