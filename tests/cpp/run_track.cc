// Segments a video with an exported model the way TensorFlow Serving does: LoadSavedModel, then
// Session::Run on the tensors that the signature names. Needs no Python and none of this project.
//
//   run_track MODEL_DIR OUTPUT_DIR MASK.png FRAME [FRAME ...]
//
// Writes OUTPUT_DIR/0.png, 1.png, ... Exit code 1 and one line on standard error if it fails.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

namespace {

tensorflow::tstring ReadFile(const char* path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    std::cerr << path << ": cannot be read" << std::endl;
    std::exit(1);
  }
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status.message() << std::endl;
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::cerr << "usage: run_track MODEL_DIR OUTPUT_DIR MASK.png FRAME [FRAME ...]" << std::endl;
    return 2;
  }
  tensorflow::SavedModelBundle bundle;
  Check(tensorflow::LoadSavedModel(tensorflow::SessionOptions(), tensorflow::RunOptions(), argv[1],
                                   {"serve"}, &bundle));
  const auto& signature = bundle.meta_graph_def.signature_def().at("serving_default");
  const int num_frames = argc - 4;
  tensorflow::Tensor mask(tensorflow::DT_STRING, {});
  mask.scalar<tensorflow::tstring>()() = ReadFile(argv[3]);
  tensorflow::Tensor frames(tensorflow::DT_STRING, {num_frames});
  for (int i = 0; i < num_frames; ++i) {
    frames.vec<tensorflow::tstring>()(i) = ReadFile(argv[4 + i]);
  }
  std::vector<tensorflow::Tensor> outputs;
  Check(bundle.GetSession()->Run({{signature.inputs().at("image_bytes").name(), frames},
                                  {signature.inputs().at("mask_bytes").name(), mask}},
                                 {signature.outputs().at("masks_bytes").name(),
                                  signature.outputs().at("object_ids").name()},
                                 {}, &outputs));
  for (int i = 0; i < outputs[0].NumElements(); ++i) {
    const auto& png = outputs[0].vec<tensorflow::tstring>()(i);
    std::ofstream(std::string(argv[2]) + "/" + std::to_string(i) + ".png", std::ios::binary)
        .write(png.data(), png.size());
  }
  for (int i = 0; i < outputs[1].NumElements(); ++i) {
    std::cout << outputs[1].vec<int>()(i) << (i + 1 < outputs[1].NumElements() ? " " : "\n");
  }
  return 0;
}
