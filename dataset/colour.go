package dataset

// Principal components of the colours of the 50,000 training images of
// CIFAR-10: the eigenvectors (red, green, blue; largest first) of the covariance
// of pixel/255 over the 51,200,000 training pixels, and the eigenvalues, which
// are the variances along them. Each vector's largest entry is taken positive.
// The covariance, from exact integer sums, is
//
//	0.06077356 0.05505399 0.05155586
//	0.05505399 0.05942628 0.05820128
//	0.05155586 0.05820128 0.06857985
//
// and its eigenvectors were computed in float64 by LAPACK (numpy.linalg.eigh).
// The pixels were those of a copy that had gone through JPEG, whose channel
// means agree with the original's to 0.0003 and whose deviations to 0.0005; as
// directions of a random change of colour the difference has no weight. A test
// computes them anew where CIFAR-10 is at hand.
var (
	colourComponents = [3][3]float32{
		{0.55757551, 0.57666147, 0.59713575},
		{-0.70491069, -0.05099856, 0.7074603},
		{-0.43841816, 0.81538991, -0.37805928},
	}
	colourVariances = [3]float32{0.17292584, 0.01301424, 0.00283961}
)
