namespace ModelGen;

/// <summary>
/// Asks for a CUDA path beside the C# code of a declared model: its kernels as PTX, what is launched of them for each entry point, and a plan
/// of the device's memory. Sessions and trainers run there where their options say so (<see cref="SessionOptions.Device"/>,
/// <see cref="TrainerOptions.Device"/>); nothing but an NVIDIA driver is needed for it. Without it nothing of the kind is emitted.
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class CudaAttribute : Attribute
{
    /// <summary>
    /// What the factors of matrix products are rounded to on the device, of sessions and of trainers; <see cref="CudaPrecision.F32"/> unless it is
    /// said otherwise. Sums, all other kernels, weights, gradients and the optimizer stay in single precision, and so do files and checkpoints.
    /// </summary>
    public CudaPrecision Precision { get; set; }

    /// <summary>
    /// How training rounds the factors of matrix products in <see cref="CudaPrecision.BF16"/>; sessions, attention and other precisions round to the nearest. <see cref="CudaRounding.Nearest"/> unless it is said otherwise.
    /// </summary>
    public CudaRounding Rounding { get; set; }

    /// <summary>
    /// Which kernels have one launch between them, a cooperative one: blocks of threads that stay, and meet behind each kernel. Results are the same bits
    /// whatever is chosen.
    /// </summary>
    public CudaLaunches Launches { get; set; }

    /// <summary>What computes large products of matrices: which of them, in <see cref="CudaPrecision.BF16"/>, are by groups of four warps on devices of compute capability 9.0, which alone have those, and whether cuBLASLt computes them where it is installed.</summary>
    public CudaProducts Products { get; set; }
}

/// <summary>What computes large products of matrices on CUDA devices: groups of four warps (<c>wgmma</c>) on devices of compute capability 9.0, with factors that were rounded and laid out before, other kernels, or NVIDIA's library.</summary>
public enum CudaProducts
{
    /// <summary>Those of a training step that are large enough for that to be quicker.</summary>
    Automatic,

    /// <summary>None: products are those of other devices.</summary>
    Warps,

    /// <summary>All of a training step, whatever it costs.</summary>
    Warpgroups,

    /// <summary>
    /// Those of <see cref="Automatic"/> and, where NVIDIA's library cuBLASLt (<c>libcublasLt.so.13</c> or <c>.12</c>, <c>cublasLt64_13.dll</c> or <c>_12</c>) is installed, in its place: products of a literal number of rows that have a launch of their own
    /// are computed by the library in any precision, with bias, residual, accumulation and activation in the same call where it knows them; all others, and all where it is missing or refuses
    /// (<see cref="DeviceInUse.Limitations"/> says why), by the emitted kernels. Its algorithms are chosen once, when a session or a trainer is made, among those that always sum in the same order. With
    /// <see cref="CudaRounding.Stochastic"/> a training step keeps the emitted kernels.
    /// </summary>
    CublasLt,
}

/// <summary>What the factors of matrix products are rounded to on a CUDA device. Products are summed in single precision whatever it is.</summary>
public enum CudaPrecision
{
    /// <summary>Nothing: single precision, 24 bits of significand, on the ordinary units of the device.</summary>
    F32,

    /// <summary>TensorFloat-32: 11 bits of significand in the range of single precision, on tensor cores.</summary>
    TF32,

    /// <summary>
    /// bfloat16: 8 bits of significand in the range of single precision, on tensor cores. Training with it is mixed precision training, with master weights in single
    /// precision (Micikevicius et al., "Mixed Precision Training", 2018; Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019); its range needs no scaling of the loss.
    /// </summary>
    BF16,
}

/// <summary>How numbers are rounded that a CUDA device multiplies in training (<see cref="CudaAttribute.Rounding"/>).</summary>
public enum CudaRounding
{
    /// <summary>To the nearest number that there is, of two as near to the even one.</summary>
    Nearest,

    /// <summary>
    /// To one of the two numbers around, to the nearer one more often, so that the rounded number is right on average (Gupta et al., "Deep learning with limited numerical precision", 2015). What decides is drawn by the run's seed, the
    /// product and the number's place, so that a product rounds a number the same wherever it reads it, layers draw for themselves, and a step is the same whenever it is done again.
    /// </summary>
    Stochastic,
}
