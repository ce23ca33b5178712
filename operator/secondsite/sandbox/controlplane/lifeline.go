package main

import (
	"io"
	"os"
	"strconv"
)

// lifelineVariable names the descriptor of a pipe whose other end only the process that started us holds.
const lifelineVariable = "SECONDSITE_LIFELINE"

// watchLifeline ends this process when its starter is gone, however that died. A pipe is used instead of a
// parent-death signal because that signal also comes when merely the thread that started us ends.
func watchLifeline() {
	number, err := strconv.Atoi(os.Getenv(lifelineVariable))
	if err != nil {
		return
	}
	lifeline := os.NewFile(uintptr(number), "lifeline")
	go func() {
		_, _ = io.Copy(io.Discard, lifeline)
		os.Exit(1) // not gracefully: the other parts are ending at this moment too
	}()
}
