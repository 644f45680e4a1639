package dataset

// Archive is where CIFAR-10 in the binary format is to be had, and what it must
// be.
type Archive struct {
	URL    string // http or https
	MD5    string // of the whole archive, 32 hexadecimal digits
	SHA256 string // of the whole archive, 64 hexadecimal digits
}

// CIFAR10 is the archive that its authors publish: 170,052,171 bytes.
var CIFAR10 = Archive{
	URL:    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
	MD5:    "c32a1d4ab5d03f1284b67883e8d87530",
	SHA256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
}

// or returns a with its empty fields taken from b.
func (a Archive) or(b Archive) Archive {
	if a.URL == "" {
		a.URL = b.URL
	}
	if a.MD5 == "" {
		a.MD5 = b.MD5
	}
	if a.SHA256 == "" {
		a.SHA256 = b.SHA256
	}
	return a
}
