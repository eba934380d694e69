mkfifo f; (echo through a fifo > f) & cat f; wait
